//! Starter policies: rules and masks that `countersign init` writes into a new configuration.
//!
//! Never in force by themselves: what counts is the file. Invariant: each is a valid part of a configuration, and they can
//! stand in one file together.

/// A starter policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pack {
    /// People look, nobody changes
    ReadOnly,
    /// Reads pass, a reviewer looks at every change before it runs
    WritesNeedReview,
    /// Data moves, definitions stay
    DdlFrozen,
    /// Personal data is masked, cannot be guessed, and does not leave in bulk
    PiiStrict,
    /// Programs read in small portions and ask for everything else
    AiAgent,
}

impl Pack {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ReadOnly, Self::WritesNeedReview, Self::DdlFrozen, Self::PiiStrict, Self::AiAgent];

    /// Its name, as on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WritesNeedReview => "writes-need-review",
            Self::DdlFrozen => "ddl-frozen",
            Self::PiiStrict => "pii-strict",
            Self::AiAgent => "ai-agent",
        }
    }

    /// Its rules and masks, with comments: TOML to stand at the end of a configuration.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::ReadOnly => include_str!("packs/read-only.toml"),
            Self::WritesNeedReview => include_str!("packs/writes-need-review.toml"),
            Self::DdlFrozen => include_str!("packs/ddl-frozen.toml"),
            Self::PiiStrict => include_str!("packs/pii-strict.toml"),
            Self::AiAgent => include_str!("packs/ai-agent.toml"),
        }
    }
}

impl std::fmt::Display for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
