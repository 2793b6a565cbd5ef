//! The fields of a form or query, as browsers send them.
//!
//! Never keeps a field that came twice apart: the first counts. Invariant: the line ends of a text are those it had before
//! the browser turned each into CR LF.

use form_urlencoded::Serializer;

/// Names and values.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=1&b=2`.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Writes `a=1&b=2`.
    pub(super) fn encode(pairs: &[(&str, &str)]) -> String {
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// The field of that name, as it was sent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The field of that name, with the line ends it had; `None` when it says nothing.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = self.get(name)?.replace("\r\n", "\n");
        (!text.trim().is_empty()).then_some(text)
    }

    /// The words in that field, which commas separate; `None` when there are none.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        let words = self.get(name)?.split(',').map(str::trim).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(str::to_owned).collect();
        (!words.is_empty()).then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_say_what_they_held() {
        let fields = Fields::parse(b"a=x%0D%0Ay&b=+&c=one%2C+two,,&a=later");
        assert_eq!(fields.text("a").as_deref(), Some("x\ny"));
        assert_eq!((fields.text("b"), fields.text("d")), (None, None));
        assert_eq!(fields.list("c"), Some(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(fields.list("b"), None);
        let written = Fields::encode(&[("next", "/a?b=c&d"), ("e", "ü")]);
        let read = Fields::parse(written.as_bytes());
        assert_eq!((read.get("next"), read.get("e")), (Some("/a?b=c&d"), Some("ü")));
    }
}
