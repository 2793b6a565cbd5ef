//! What may stand in the file: each kind of table with its keys, and the form of each value.
//!
//! Never reads anything. Invariant: what the reader reads under a key is what stands here (every read of a debug build compares),
//! so that the JSON Schema made of it says what the reader does.

/// The keys of a kind of table.
pub(super) struct Keys {
    /// How the table is written, for messages and documentation: `[web]`, `[[rules]]`.
    pub(super) table: &'static str,
    /// Keys with an effect.
    pub(super) known: &'static [Key],
    /// Keys of the documentation that have no effect in this version, and are therefore refused.
    pub(super) unavailable: &'static [&'static str],
}

impl Keys {
    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().map(|key| key.name)
    }

    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.known.iter().find(|key| key.name == name)
    }
}

/// One key of a table.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// Whether the table is nothing without it.
    pub(super) is_required: bool,
}

/// A key that can be left out.
pub(super) const fn optional(name: &'static str, form: Form) -> Key {
    Key { name, form, is_required: false }
}

/// A key that the table is nothing without.
pub(super) const fn required(name: &'static str, form: Form) -> Key {
    Key { name, form, is_required: true }
}

/// The valid words, made when they are asked for.
pub(super) type Words = fn() -> Vec<&'static str>;

/// What a value looks like.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// A string that is not empty.
    Text,
    /// An array of such strings.
    Texts,
    /// The same with one at least.
    FilledTexts,
    /// A string, or an array of strings.
    OneOrMore,
    /// `true` or `false`.
    Flag,
    /// A whole number, from the first to the second.
    Number(u32, u32),
    /// A number and a unit: `30m`.
    Duration,
    /// The same, or `never`.
    DurationOrNever,
    /// A point in time, as TOML has it or in quotes.
    Moment,
    /// One of these words.
    Word(Words),
    /// An array of such words.
    WordList(Words),
    /// Keys of any name, and a string under each.
    TextMap,
    /// Keys of any name, and one of these words under each.
    WordMap(Words),
    /// A table.
    Table(&'static Keys),
    /// A table with just one of its keys.
    OneKey(&'static Keys),
    /// Tables under names of any kind.
    Named(&'static Keys),
    /// An array of tables.
    Repeated(&'static Keys),
    /// An array of tables and strings.
    Entries(&'static Keys),
    /// One of these forms.
    Either(&'static [Form]),
}

impl Form {
    /// Whether it is, or may be, of a certain form.
    pub(super) fn may_be(self, fits: &dyn Fn(Form) -> bool) -> bool {
        match self {
            Self::Either(forms) => forms.iter().any(|form| form.may_be(fits)),
            other => fits(other),
        }
    }

    /// Whether it is written as a string.
    pub(super) fn is_string(self) -> bool {
        matches!(
            self,
            Self::Text | Self::OneOrMore | Self::Duration | Self::DurationOrNever | Self::Moment | Self::Word(_)
        )
    }

    /// Whether it is a table with those keys.
    pub(super) fn is_table(self, keys: &Keys) -> bool {
        matches!(self, Self::Table(own) | Self::OneKey(own) if own.table == keys.table)
    }

    /// Whether exactly these are its words.
    pub(super) fn has_words<'w>(self, words: impl Iterator<Item = &'w str>) -> bool {
        match self {
            Self::Word(own) | Self::WordList(own) | Self::WordMap(own) => words.eq(own()),
            _ => false,
        }
    }
}

/// The words of a list of choices.
pub(super) fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}
