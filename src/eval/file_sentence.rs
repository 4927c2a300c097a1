//! A sentence of the text file that is evaluated.

/// A sentence of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSentence {
    pub text: String,
    /// Its token ids without bos and eos, tokenized alone.
    pub ids: Vec<u32>,
    /// Bytes of the text that the ids stand for.
    pub bytes: u64,
    /// Whether more text belongs to it.
    pub truncated: bool,
    /// Where it begins in the file.
    pub offset: u64,
}
