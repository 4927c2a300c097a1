//! API keys.

use std::path::Path;

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use sllm_ort::text::without_byte_order_mark;
use subtle::{Choice, ConstantTimeEq as _};

/// Largest file of keys.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The keys that open the server; none if it is open to all. They are held as hashes, and never
/// logged.
#[derive(Default)]
pub struct Keys {
    hashes: Vec<[u8; 32]>,
}

impl Keys {
    /// Read the keys of a file, one a line; empty lines and lines that begin with # are left out.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let size = std::fs::metadata(path).map(|found| found.len());
        let size = size.with_context(|| format!("cannot read the key file {}", path.display()))?;
        if size > MAX_FILE_BYTES {
            bail!("the key file {} is too large", path.display());
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the key file {}", path.display()))?;
        let keys = without_byte_order_mark(&text).lines().map(str::trim);
        let keys = keys.filter(|key| !key.is_empty() && !key.starts_with('#'));
        let hashes: Vec<_> = keys.map(hash).collect();
        if hashes.is_empty() {
            bail!("the key file {} holds no key", path.display());
        }
        Ok(Self { hashes })
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether a request with this value of the header `authorization` may pass. The time that it
    /// takes does not depend on the keys.
    pub fn admit(&self, authorization: Option<&[u8]>) -> bool {
        if self.is_empty() {
            return true;
        }
        let given = authorization.and_then(bearer).unwrap_or_default();
        let given = hash(given);
        let equal = |known: &[u8; 32]| known.ct_eq(&given);
        let found = self.hashes.iter().map(equal);
        found.fold(Choice::from(0), |one, other| one | other).into()
    }
}

/// The key of `Bearer KEY`.
fn bearer(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_key_is_admitted() {
        let keys = Keys {
            hashes: vec![hash("one"), hash("two")],
        };
        for (header, admitted) in [
            (Some("Bearer one"), true),
            (Some("bearer two"), true),
            (Some("Bearer three"), false),
            (Some("Basic one"), false),
            (Some("Bearer "), false),
            (Some("one"), false),
            (None, false),
        ] {
            assert_eq!(
                keys.admit(header.map(str::as_bytes)),
                admitted,
                "{header:?}"
            );
        }
        assert!(Keys::default().admit(None));
    }
}
