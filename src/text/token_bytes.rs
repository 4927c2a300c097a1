//! The bytes that the tokens of a byte-level tokenizer stand for.

use tokenizers::{ModelWrapper, Tokenizer};

/// The bytes of each token of a byte-level tokenizer, end to end.
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where the bytes of each id end.
    ends: Vec<usize>,
    /// The bytes that are left out of a text; none for a usual tokenizer.
    lost: Vec<u8>,
}

impl TokenBytes {
    pub fn new(tokenizer: &Tokenizer, size: usize) -> Self {
        let mut table = Self {
            bytes: Vec::new(),
            ends: Vec::with_capacity(size),
            lost: lost_bytes(tokenizer),
        };
        let special = tokenizer.get_added_vocabulary();
        for id in 0..size {
            let token = u32::try_from(id)
                .ok()
                .and_then(|id| tokenizer.id_to_token(id))
                .unwrap_or_default();
            if !special.is_special_token(&token) {
                match token.chars().map(byte_of).collect::<Option<Vec<u8>>>() {
                    Some(bytes) => table.bytes.extend(bytes),
                    // An added token that is not written in the alphabet stands for itself.
                    None => table.bytes.extend(token.bytes()),
                }
            }
            table.ends.push(table.bytes.len());
        }
        table
    }

    /// The most bytes of a token.
    pub fn longest(&self) -> usize {
        let starts = std::iter::once(&0).chain(&self.ends);
        let lengths = self.ends.iter().zip(starts).map(|(end, start)| end - start);
        lengths.max().unwrap_or(0)
    }

    /// The first character of `text` that the tokenizer would leave out.
    pub fn first_lost(&self, text: &str) -> Option<char> {
        if self.lost.is_empty() {
            return None;
        }
        let lost = |character: &char| {
            let mut buffer = [0; 4];
            character
                .encode_utf8(&mut buffer)
                .bytes()
                .any(|byte| self.lost.contains(&byte))
        };
        text.chars().find(lost)
    }

    pub fn get(&self, id: u32) -> &[u8] {
        let bytes = usize::try_from(id).ok().and_then(|id| {
            let start = id
                .checked_sub(1)
                .map_or(Some(&0), |before| self.ends.get(before))?;
            self.bytes.get(*start..*self.ends.get(id)?)
        });
        bytes.unwrap_or_default()
    }
}

/// The bytes for which there is no token, unless an unknown token stands for them: the library
/// leaves them out without a word.
fn lost_bytes(tokenizer: &Tokenizer) -> Vec<u8> {
    if matches!(tokenizer.get_model(), ModelWrapper::BPE(bpe) if bpe.unk_token.is_some()) {
        return Vec::new();
    }
    ('\0'..='\u{143}')
        .filter(|symbol| {
            tokenizer
                .token_to_id(symbol.encode_utf8(&mut [0; 4]))
                .is_none()
        })
        .filter_map(byte_of)
        .collect()
}

/// The byte that a character stands for in a byte-level vocabulary: itself if it can be printed,
/// and the others in turn from U+0100 (`bytes_to_unicode` of GPT-2's encoder).
fn byte_of(symbol: char) -> Option<u8> {
    let code = u32::from(symbol);
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::byte_of;

    #[test]
    fn alphabet_has_every_byte_once() {
        let mut bytes: Vec<u8> = ('\0'..='\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert!(bytes.into_iter().eq(0..=255));
        assert_eq!((byte_of('Ġ'), byte_of('Ċ')), (Some(b' '), Some(b'\n')));
    }
}
