//! What the trail keeps of the output of a statement that needed an approval.

use serde::Serialize;

/// What is kept of the output of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Names of the columns of the last result of a Query, as far as they are known.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub columns: Vec<String>,
    /// How many bytes of rows and COPY data went to the client.
    pub bytes: u64,
    /// Rows as the client got them; of a COPY, each piece of data as one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Vec<Option<String>>>>,
    /// There were more.
    #[serde(rename = "cut", skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}
