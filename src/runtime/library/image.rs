//! Check whether a file is a library for this machine, before the system's loader maps it: a
//! truncated library would end the process with a signal.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

const ELF: &[u8] = b"\x7fELF";
const MACH_O: [[u8; 4]; 3] = [
    [0xcf, 0xfa, 0xed, 0xfe],
    [0xca, 0xfe, 0xba, 0xbe],
    [0xca, 0xfe, 0xba, 0xbf],
];
const LFS_POINTER: &[u8] = b"version https://git-lfs";
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const MAX_SEGMENTS: u16 = 4096;
/// ELF's number of a loaded segment.
const LOADED: u32 = 1;

/// What keeps the file from being loaded, as far as can be seen; `None` if nothing does.
///
/// # Errors
/// If it cannot be read.
pub(super) fn problem(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut header = Vec::new();
    (&mut file)
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Some("the file is empty".into()));
    }
    if header.starts_with(LFS_POINTER) {
        return Ok(Some(
            "a Git LFS pointer stands in its place: fetch it with \"git lfs pull\"".into(),
        ));
    }
    Ok(match () {
        () if cfg!(windows) => (!header.starts_with(b"MZ")).then(|| no_library("DLL")),
        () if cfg!(target_vendor = "apple") => {
            let known = MACH_O.iter().any(|magic| header.starts_with(magic));
            (!known).then(|| no_library("Mach-O library"))
        }
        () => elf_problem(&mut file, &header, length)?,
    })
}

fn no_library(kind: &str) -> String {
    format!("the file is no {kind}")
}

/// The same for ELF of 64 bits, little-endian, which all 64-bit systems of ONNX Runtime have.
fn elf_problem(file: &mut File, header: &[u8], length: u64) -> io::Result<Option<String>> {
    if !header.starts_with(ELF) {
        return Ok(Some(no_library("shared library (ELF)")));
    }
    if header.len() < HEADER_BYTES {
        return Ok(Some(cut_short(length, HEADER_BYTES as u64)));
    }
    let machine = number(header, 18, 2);
    let (wanted, name) = machine_of_this_program();
    if header[4] != 2 {
        return Ok(Some(no_library("shared library (ELF) of 64 bits")));
    }
    if header[5] != 1 {
        return Ok(Some(no_library("shared library (ELF) of this byte order")));
    }
    if wanted != 0 && machine != wanted {
        let found = machine_name(machine);
        return Ok(Some(format!(
            "the library is for another processor ({found}; this program is for {name})"
        )));
    }
    let (start, size, count) = (
        number(header, 32, 8),
        number(header, 54, 2),
        number(header, 56, 2).min(MAX_SEGMENTS.into()),
    );
    if size != SEGMENT_BYTES as u64 {
        return Ok(Some(no_library("shared library (ELF) of 64 bits")));
    }
    let sections =
        number(header, 40, 8).saturating_add(number(header, 58, 2) * number(header, 60, 2));
    let mut needed = sections.max(start.saturating_add(size * count));
    if needed <= length {
        file.seek(SeekFrom::Start(start))?;
        let mut segment = [0; SEGMENT_BYTES];
        for _ in 0..count {
            file.read_exact(&mut segment)?;
            if number(&segment, 0, 4) == u64::from(LOADED) {
                let end = number(&segment, 8, 8).saturating_add(number(&segment, 32, 8));
                needed = needed.max(end);
            }
        }
    }
    Ok((needed > length).then(|| cut_short(length, needed)))
}

fn cut_short(length: u64, needed: u64) -> String {
    format!("the file is cut short: {length} bytes of at least {needed}; get it again")
}

/// A little-endian number of `size` bytes at `at`.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let bytes = bytes.get(at..at + size).unwrap_or_default();
    bytes
        .iter()
        .rev()
        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// ELF's number of the processor that this program runs on, 0 for one that is not checked.
fn machine_of_this_program() -> (u64, &'static str) {
    match () {
        () if cfg!(target_arch = "x86_64") => (62, "x86-64"),
        () if cfg!(target_arch = "aarch64") => (183, "AArch64"),
        () => (0, ""),
    }
}

fn machine_name(machine: u64) -> String {
    match machine {
        3 => "x86".into(),
        40 => "ARM".into(),
        62 => "x86-64".into(),
        183 => "AArch64".into(),
        243 => "RISC-V".into(),
        other => format!("number {other}"),
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::fs;

    use super::*;

    fn problem_of(bytes: &[u8]) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        problem(file.path()).unwrap()
    }

    #[test]
    fn files_that_are_no_library_for_this_machine() {
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(problem_of(&this), None);
        let mut other = this.clone();
        other[18] = 183;
        for (bytes, wanted) in [
            (&b""[..], "empty"),
            (b"hello", "no shared library"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "Git LFS pointer",
            ),
            (&this[..30], "cut short"),
            (&this[..64], "cut short"),
            (&this[..this.len() / 2], "cut short"),
            (&this[..this.len() - 1], "cut short"),
            (
                &other,
                "another processor (AArch64; this program is for x86-64)",
            ),
        ] {
            let found = problem_of(bytes).unwrap();
            assert!(found.contains(wanted), "{found}");
        }
    }
}
