//! Checks of texts, and warnings about them.

use std::io::IsTerminal;

use anyhow::bail;
use sllm_ort::{eval::SEPARATOR, text::is_blank};

use crate::cli::output;

/// Refuse a text in which nothing can be seen.
pub fn check_text(text: &str, name: &str) -> anyhow::Result<()> {
    check(text, name, "give a text")
}

/// The same for a prompt; `continues` if a session may be continued without one.
pub fn check_prompt(text: &str, continues: bool) -> anyhow::Result<()> {
    let advice = match continues {
        true => "leave it out to continue the session, or give a text",
        false => "give a text",
    };
    check(text, "the prompt", advice)
}

fn check(text: &str, name: &str, advice: &str) -> anyhow::Result<()> {
    if is_blank(text) {
        let what = if text.is_empty() {
            "is empty"
        } else {
            "is all white space"
        };
        bail!("{name} {what}: {advice}");
    }
    Ok(())
}

/// The text of a file, or of a line of it.
pub fn utf8(bytes: Vec<u8>, name: &str) -> anyhow::Result<String> {
    if let Some(place) = bytes.iter().position(|&byte| byte == 0) {
        bail!(
            "{name}: NUL character at byte {place}: it looks like UTF-16 or a binary file: convert \
             it to UTF-8 first"
        );
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{name}: not UTF-8 text at byte {place}: convert it to UTF-8 first")
    })
}

/// Says once that the end of a record is text, in commands that do not know records.
#[derive(Default)]
pub struct RecordEnds {
    are_said: bool,
}

impl RecordEnds {
    /// Look at the next text; `place` is what a warning calls the line, from 1.
    pub fn look(&mut self, text: &str, place: impl FnOnce(usize) -> String) {
        if self.are_said {
            return;
        }
        if let Some((before, _)) = text.split_once(SEPARATOR) {
            self.are_said = true;
            let line = before.matches('\n').count() + 1;
            output::warn(&format!(
                "{}: {SEPARATOR} is taken as text: it ends a record in eval and stats only",
                place(line)
            ));
        }
    }
}

/// Refuse a device, which may have no end. A terminal is one to read from, and the null device is
/// as good as an empty file.
#[cfg(unix)]
pub fn check_no_device(
    file: &(impl IsTerminal + std::os::fd::AsFd),
    name: &str,
) -> anyhow::Result<()> {
    use rustix::fs::{FileType, fstat, stat};
    let Ok(found) = fstat(file) else {
        // What is wrong with it, reading says.
        return Ok(());
    };
    let is_null = || stat("/dev/null").is_ok_and(|null| null.st_rdev == found.st_rdev);
    let is_refused = match FileType::from_raw_mode(found.st_mode) {
        FileType::CharacterDevice => !file.is_terminal() && !is_null(),
        FileType::BlockDevice => true,
        _ => false,
    };
    if is_refused {
        bail!("{name} is a device, which has no text: give a file or a pipe");
    }
    Ok(())
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)]
pub fn check_no_device(_file: &impl IsTerminal, _name: &str) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_nothing_to_see() {
        for (text, what) in [
            ("", "is empty"),
            (" ", "is all white space"),
            ("\u{200b}", "is all white space"),
            ("\u{feff}\n\u{2060}\u{ad}\u{fe0f}", "is all white space"),
            ("\u{3164}\u{2800}\u{e0020}\u{1}", "is all white space"),
        ] {
            let error = check_text(text, "it").unwrap_err();
            assert_eq!(error.to_string(), format!("it {what}: give a text"));
        }
        for text in [".", "\u{200b}a", "\u{301}", "\u{1f995}", "\u{e000}"] {
            check_text(text, "it").unwrap();
        }
    }

    #[test]
    fn bytes_that_are_no_text() {
        for (bytes, problem) in [
            (&b"a\0b"[..], "NUL character at byte 1"),
            (b"\xff\xfea\0", "NUL character at byte 3"),
            (b"ab\xff", "not UTF-8 text at byte 2"),
        ] {
            let error = utf8(bytes.to_vec(), "it").unwrap_err().to_string();
            assert!(error.starts_with(&format!("it: {problem}")), "{error}");
            assert!(error.ends_with("convert it to UTF-8 first"), "{error}");
        }
        assert_eq!(utf8(b"ab".to_vec(), "").unwrap(), "ab");
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_refused() {
        use std::fs::File;
        for name in ["/dev/zero", "/dev/full", "/dev/urandom"] {
            let error = check_no_device(&File::open(name).unwrap(), name).unwrap_err();
            assert!(error.to_string().contains("is a device"), "{error}");
        }
        for name in ["/dev/null", "Cargo.toml"] {
            check_no_device(&File::open(name).unwrap(), name).unwrap();
        }
    }
}
