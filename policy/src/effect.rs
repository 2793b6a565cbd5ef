//! What a statement does: the closed, public list of effects that rules speak of.
//!
//! Never guesses: the extractor in [`crate::analysis`] decides which effects a statement carries.
//! Invariant: the list here, the names in the configuration and `docs/effects.md` are the same list.

use std::fmt;
use std::str::FromStr;

macro_rules! effects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// One thing a statement does. A statement carries a set of these ([`Effects`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Effect { $($(#[$doc])* $variant,)+ }

        impl Effect {
            /// Every effect, in the documented order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in the configuration, in reports and in the audit trail.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

effects! {
    /// Reads rows (`SELECT`, `TABLE`, `VALUES`).
    Select = "select",
    /// `INSERT`.
    Insert = "insert",
    /// `UPDATE`, also `ON CONFLICT DO UPDATE`.
    Update = "update",
    /// `DELETE`.
    Delete = "delete",
    /// `MERGE`; its actions carry `insert`, `update`, `delete` as well.
    Merge = "merge",
    /// `TRUNCATE`.
    Truncate = "truncate",
    /// `COPY … FROM STDIN`, and every `COPY … FROM`.
    CopyIn = "copy_in",
    /// `COPY … TO`.
    CopyOut = "copy_out",
    /// `COPY … PROGRAM`.
    CopyProgram = "copy_program",
    /// `COPY` with a file of the server.
    CopyFile = "copy_file",
    /// `CREATE …`, `SELECT INTO`.
    Create = "create",
    /// `ALTER …`.
    Alter = "alter",
    /// `DROP …`.
    Drop = "drop",
    /// `GRANT`.
    Grant = "grant",
    /// `REVOKE`.
    Revoke = "revoke",
    /// `COMMENT ON`.
    Comment = "comment",
    /// `SECURITY LABEL`.
    SecurityLabel = "security_label",
    /// `SET ROLE`, `SET SESSION AUTHORIZATION`.
    SetRole = "set_role",
    /// `SET` of a harmless setting.
    Set = "set",
    /// `SET` of a setting that changes how later SQL is read, checked or recorded.
    SetDangerous = "set_dangerous",
    /// `RESET`.
    Reset = "reset",
    /// `SHOW`.
    Show = "show",
    /// `CALL`.
    Call = "call",
    /// `DO`.
    Do = "do",
    /// `EXECUTE` of a prepared statement; its own effects are carried as well.
    Execute = "execute",
    /// Calls a function that may write or is known to be dangerous.
    FunctionCall = "function_call",
    /// `EXPLAIN`; with ANALYZE the effects of the statement are carried as well.
    Explain = "explain",
    /// `LOCK`, advisory locks, `SELECT … FOR UPDATE`.
    Lock = "lock",
    /// `LISTEN`, `UNLISTEN`.
    Listen = "listen",
    /// `NOTIFY`.
    Notify = "notify",
    /// `VACUUM`, `ANALYZE`, `REINDEX`, `CLUSTER`, `REFRESH`, `CHECKPOINT`.
    Maintenance = "maintenance",
    /// `BEGIN`, `COMMIT`, `ROLLBACK`, `SAVEPOINT` and friends.
    Transaction = "transaction",
    /// `DECLARE`, `FETCH`, `MOVE`, `CLOSE`.
    Cursor = "cursor",
    /// `PREPARE`.
    Prepare = "prepare",
    /// `DEALLOCATE`.
    Deallocate = "deallocate",
    /// `DISCARD`.
    Discard = "discard",
    /// Not fully understood.
    Unknown = "unknown",
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of an effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown effect \"{0}\"")]
pub struct UnknownEffect(pub String);

impl FromStr for Effect {
    type Err = UnknownEffect;

    fn from_str(name: &str) -> Result<Self, UnknownEffect> {
        Self::ALL.iter().copied().find(|effect| effect.as_str() == name).ok_or_else(|| UnknownEffect(name.to_owned()))
    }
}

impl serde::Serialize for Effect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Effect {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of effects.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Effects(u64);

impl Effects {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The effects that write data, for "was a write made in this transaction" and read-only rules.
    pub const WRITES: Self =
        Self::of(&[Effect::Insert, Effect::Update, Effect::Delete, Effect::Merge, Effect::Truncate, Effect::CopyIn]);

    /// The set of the listed effects.
    #[must_use]
    pub const fn of(list: &[Effect]) -> Self {
        let mut bits = 0;
        let mut rest = list;
        while let [first, tail @ ..] = rest {
            bits |= 1 << (*first as u8);
            rest = tail;
        }
        Self(bits)
    }

    /// Adds one effect.
    pub fn insert(&mut self, effect: Effect) {
        self.0 |= 1 << (effect as u8);
    }

    /// Adds all effects of the other set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether the effect is in the set.
    #[must_use]
    pub const fn contains(self, effect: Effect) -> bool {
        self.0 & (1 << (effect as u8)) != 0
    }

    /// Whether the sets share an effect.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The effects that are in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in the documented order.
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            // Where an effect stands in the list is its bit.
            let effect = Effect::ALL.get(usize::try_from(rest.trailing_zeros()).ok()?);
            rest &= rest.wrapping_sub(1);
            effect.copied()
        })
    }
}

impl FromIterator<Effect> for Effects {
    fn from_iter<I: IntoIterator<Item = Effect>>(iter: I) -> Self {
        let mut set = Self::NONE;
        iter.into_iter().for_each(|effect| set.insert(effect));
        set
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_yields_its_members_in_the_order_of_the_list() {
        let all: Effects = Effect::ALL.iter().copied().collect();
        assert!(all.iter().eq(Effect::ALL.iter().copied()));
        assert_eq!(Effects::NONE.iter().next(), None);
        let some = Effects::of(&[Effect::Unknown, Effect::Delete, Effect::Select]);
        assert!(some.iter().eq([Effect::Select, Effect::Delete, Effect::Unknown]));
    }

    #[test]
    fn the_documented_list_is_the_list() {
        let document = include_str!("../../docs/effects.md");
        let name = |line: &'static str| line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name);
        let documented: Vec<_> = document.lines().filter_map(name).collect();
        let all: Vec<_> = Effect::ALL.iter().map(|effect| effect.as_str()).collect();
        assert_eq!(documented, all);
    }
}
