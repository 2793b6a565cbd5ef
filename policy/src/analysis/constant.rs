//! Constants of a statement, and the only place that looks into them.
//!
//! Never says what a constant means where it stands. Invariant: when a literal was looked into, [`Literals::were_opened`]
//! says so, and what was found out holds for this text only, not for others of its [shape](super::shape). `tests/it/tidy.rs`
//! checks that no other file of the analysis names the contents of a constant.

use std::cell::Cell;
use std::mem::discriminant;

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, Node, a_const::Val};

use super::shape::SMALL_MAX;

use super::names;

/// The literals of one text: closed until one of them is asked for.
#[derive(Debug, Default)]
pub struct Literals {
    opened: Cell<bool>,
}

impl Literals {
    /// Whether any literal was looked into.
    pub fn were_opened(&self) -> bool {
        self.opened.get()
    }

    /// What the constant is; `None` for NULL. TRUE, FALSE and NULL are keywords, which are part of the shape.
    fn open<'n>(&self, constant: &'n AConst) -> Option<&'n Val> {
        let value = constant.val.as_ref()?;
        if !matches!(value, Val::Boolval(_)) {
            self.opened.set(true);
        }
        Some(value)
    }

    /// The text of a string constant. Of which kind a constant is, the shape tells.
    pub fn text<'n>(&self, constant: &'n AConst) -> Option<&'n str> {
        if !matches!(constant.val, Some(Val::Sval(_))) {
            return None;
        }
        match self.open(constant)? {
            Val::Sval(text) => Some(&text.sval),
            Val::Ival(_) | Val::Fval(_) | Val::Boolval(_) | Val::Bsval(_) => None,
        }
    }

    /// The value of an integer constant.
    pub fn integer(&self, node: &Node) -> Option<i32> {
        let NodeEnum::AConst(constant) = node.node.as_ref()? else { return None };
        if !is_integer(node) {
            return None;
        }
        match self.open(constant)? {
            Val::Ival(integer) => Some(integer.ival),
            Val::Sval(_) | Val::Fval(_) | Val::Boolval(_) | Val::Bsval(_) => None,
        }
    }

    /// The values of two integer constants. One alone is not looked into.
    pub fn integers(&self, left: &Node, right: &Node) -> Option<(i32, i32)> {
        if !is_integer(left) || !is_integer(right) {
            return None;
        }
        self.integer(left).zip(self.integer(right))
    }

    /// Whether two constants are the same. Constants of different kinds are not looked into.
    pub fn are_same(&self, left: &AConst, right: &AConst) -> bool {
        match (&left.val, &right.val) {
            (Some(one), Some(other)) if discriminant(one) == discriminant(other) => self.open(left) == self.open(right),
            (None, None) => left.isnull == right.isnull,
            (Some(_) | None, Some(_) | None) => false,
        }
    }

    /// The value of a SET, as text.
    pub fn setting(&self, node: &Node) -> Option<String> {
        match node.node.as_ref()? {
            NodeEnum::AConst(constant) => match self.open(constant)? {
                Val::Sval(text) => Some(text.sval.clone()),
                Val::Ival(integer) => Some(integer.ival.to_string()),
                Val::Fval(float) => Some(float.fval.clone()),
                Val::Boolval(boolean) => Some(boolean.boolval.to_string()),
                Val::Bsval(_) => None,
            },
            NodeEnum::TypeCast(cast) => cast.arg.as_deref().and_then(|node| self.setting(node)),
            NodeEnum::String(_) => names::text(node).map(str::to_owned),
            _ => None,
        }
    }
}

/// What can be told of a constant without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Null,
    True,
    False,
    /// A literal.
    None,
}

/// The keyword that the constant is.
pub fn keyword(constant: &AConst) -> Keyword {
    match &constant.val {
        None => Keyword::Null,
        Some(Val::Boolval(boolean)) if boolean.boolval => Keyword::True,
        Some(Val::Boolval(_)) => Keyword::False,
        Some(Val::Ival(_) | Val::Fval(_) | Val::Sval(_) | Val::Bsval(_)) => Keyword::None,
    }
}

/// Whether it is a text literal, which the shape tells, or a parameter.
pub fn is_text_or_parameter(kind: &NodeEnum) -> bool {
    match kind {
        NodeEnum::AConst(constant) => matches!(constant.val, Some(Val::Sval(_))),
        other => matches!(other, NodeEnum::ParamRef(_)),
    }
}

/// Whether the node is an integer constant, which the shape tells.
pub fn is_integer(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::AConst(constant)) if matches!(constant.val, Some(Val::Ival(_))))
}

/// Whether the node is a small integer constant, which the shape tells as well: it is what [`SMALL`](super::shape::SMALL)
/// stands for, with or without a sign.
pub fn is_small(node: &Node) -> bool {
    let Some(NodeEnum::AConst(constant)) = &node.node else { return false };
    match &constant.val {
        Some(Val::Ival(integer)) => u64::from(integer.ival.unsigned_abs()) <= SMALL_MAX,
        Some(Val::Fval(_) | Val::Boolval(_) | Val::Sval(_) | Val::Bsval(_)) | None => false,
    }
}
