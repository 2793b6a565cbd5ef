//! Which custom settings (`app.tenant`) texts and stored expressions read with `current_setting`.
//!
//! Never knows a value. Invariant: a call whose name is not a plain literal makes the set open: then any of them may be read.
//! Settings without a point in their names are the server's own, and none of this.

use std::collections::BTreeSet;

/// The names, in lower case, as far as they can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsRead {
    names: BTreeSet<String>,
    is_open: bool,
}

const FUNCTION: &str = "current_setting";

/// How `pg_node_tree` writes calls of `current_setting(text)` and `current_setting(text, boolean)`.
const CALLS: [&str; 2] = [":funcid 2077 ", ":funcid 3294 "];

/// Settings that only the proxy reads.
const OF_THE_PROXY: &str = "countersign.";

impl SettingsRead {
    /// Looks through a text: a statement, or the body of a function.
    pub fn read_text(&mut self, text: &str) {
        let text = text.to_ascii_lowercase();
        // An identifier in escapes may be any name.
        self.is_open |= text.contains("u&\"");
        for behind in text.split(FUNCTION).skip(1) {
            let call = behind.trim_start_matches('"').trim_start();
            match call.strip_prefix('(') {
                Some(arguments) => self.call(literal(arguments.trim_start())),
                None if call.starts_with("/*") || call.starts_with("--") => self.is_open = true,
                None => {}
            }
        }
    }

    /// Looks through an expression or query as the catalog stores it: a `pg_node_tree`.
    pub fn read_tree(&mut self, tree: &str) {
        for behind in CALLS.iter().flat_map(|call| tree.split(call).skip(1)) {
            self.call(constant(behind).as_deref());
        }
    }

    /// The names that are known to be read.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether others may be read, too.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn call(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.names.extend(custom(name)),
            None => self.is_open = true,
        }
    }
}

/// The name of a custom setting in lower case, if it is one that the database can read.
#[must_use]
pub fn custom(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    (is_plain(&name) && name.contains('.') && !name.starts_with(OF_THE_PROXY)).then_some(name)
}

/// The names in a text that sets something: all that look like `app.tenant`, whatever else they may be.
#[must_use]
pub fn named(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !is_of_name(character)).filter_map(custom).collect()
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '$')
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_of_name)
}

/// `'app.tenant'` as the whole first argument.
fn literal(arguments: &str) -> Option<&str> {
    let (name, behind) = arguments.strip_prefix('\'')?.split_once('\'')?;
    let behind = behind.trim_start();
    let is_whole = behind.starts_with([',', ')']) || behind.starts_with("::");
    (is_whole && is_plain(name)).then_some(name)
}

/// The first argument of the call that goes on here, if it is a constant: four bytes of length, and the text.
fn constant(behind: &str) -> Option<String> {
    let (_, arguments) = behind.split_once(":args (")?;
    let (constant, _) = arguments.strip_prefix("{CONST ")?.split_once('}')?;
    let (_, value) = constant.split_once(":constvalue ")?;
    let (_, value) = value.split_once('[')?;
    let (value, _) = value.split_once(']')?;
    let bytes: Vec<u8> = value.split_whitespace().map(|byte| byte.parse().ok()).collect::<Option<_>>()?;
    let (head, text) = bytes.split_first_chunk::<4>()?;
    let is_whole = usize::try_from(u32::from_le_bytes(*head) >> 2).is_ok_and(|length| length == bytes.len());
    String::from_utf8(text.to_vec()).ok().filter(|name| is_whole && is_plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, names: &[&str], is_open: bool) {
        let mut read = SettingsRead::default();
        read.read_text(text);
        assert_eq!((read.names().collect::<Vec<_>>(), read.is_open()), (names.to_vec(), is_open), "{text}");
    }

    #[test]
    fn literal_names_are_known() {
        check("SELECT 1", &[], false);
        check("SELECT current_setting('app.tenant')", &["app.tenant"], false);
        check("SELECT pg_catalog.CURRENT_SETTING ( 'App.Tenant' , true)", &["app.tenant"], false);
        check("SELECT \"current_setting\"('a.b'::text), current_setting('a.c')", &["a.b", "a.c"], false);
        check("SELECT current_setting('search_path'), current_setting('countersign.mode')", &[], false);
        check("SELECT current_setting FROM settings", &[], false);
    }

    #[test]
    fn any_other_name_may_be_any() {
        for text in [
            "SELECT current_setting($1)",
            "SELECT current_setting('app.' || 'tenant')",
            "SELECT current_setting(E'app.tenant')",
            "SELECT current_setting('app.ten''ant')",
            "SELECT current_setting/* */('app.tenant')",
            "SELECT current_setting(-- \n'app.tenant')",
            "SELECT U&\"current\\005fsetting\"('app.tenant')",
            "EXECUTE 'SELECT current_setting(''app.tenant'')'",
            "SELECT current_setting($$app.tenant$$)",
        ] {
            check(text, &[], true);
        }
    }

    #[test]
    fn what_sets_something_names_it() {
        let found = named("SET LOCAL App.Tenant = 'x'; SELECT set_config('app.request_id', '7', true), 1.5");
        assert!(["app.tenant", "app.request_id"].iter().all(|name| found.contains(*name)), "{found:?}");
    }

    #[test]
    fn stored_expressions_are_read() {
        let call = |argument: &str| {
            format!(
                "{{FUNCEXPR :funcid 3294 :funcresulttype 25 :funcretset false :funcvariadic false :funcformat 0 \
                 :funccollid 100 :inputcollid 100 :args ({argument} {{CONST :consttype 16}}) :location 3}}"
            )
        };
        let constant = "{CONST :consttype 25 :constlen -1 :constbyval false :constisnull false :location 9 \
             :constvalue 7 [ 28 0 0 0 97 46 98 ]}";
        let mut read = SettingsRead::default();
        read.read_tree(&call(constant));
        assert_eq!((read.names().collect::<Vec<_>>(), read.is_open()), (vec!["a.b"], false));
        for argument in [constant.replace("28", "5").as_str(), "{VAR :varno 1}", "{CONST :constvalue <>}"] {
            let mut read = SettingsRead::default();
            read.read_tree(&call(argument));
            assert!(read.is_open(), "{argument}");
        }
    }
}
