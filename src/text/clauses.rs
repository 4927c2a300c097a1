//! The segmentation rule `clauses`: sentences and long clauses, cut where a reader would pause.
//!
//! `export/sllm_train/text/clauses.py` is the same rule in Python; `tests/data/segmentation.json`
//! tests both.

use super::white_space::{is_line_break, trim_indent};

/// Marks that end a piece wherever they stand: their scripts need no space after them.
const WIDE_MARKS: &str = "。｡！？；：，、､．؟،؛۔।॥።፣፤፥፧։᠂᠃";
/// Marks that end a piece however short it is, besides `.`, `!`, `?`.
const HARD_MARKS: &str = "…‼⁇⁈⁉‽";
/// Closing quotes and brackets besides those of ASCII.
const WIDE_CLOSERS: &str = "”’»›」』】》〉）］｝＂";
/// Characters from the first word of a piece to the end of a soft mark, below which it does not
/// end there.
const MIN_CLAUSE_CHARS: usize = 16;
/// Characters before a full stop that are looked at for an abbreviation.
const WORD_LOOKBACK: usize = 32;
/// Characters before a mark that are looked at for an address.
const TOKEN_LOOKBACK: usize = 256;

/// Never the end of a sentence.
const TITLES: &[&str] = &[
    "Mr", "Mrs", "Ms", "Mme", "Mlle", "Messrs", "Dr", "Prof", "St", "Rev", "Hon", "Gen", "Col",
    "Capt", "Cpt", "Lt", "Sgt", "Cpl", "Maj", "Adm", "Cmdr", "Gov", "Sen", "Rep", "Pres", "Supt",
    "Insp", "Mt", "Ft", "vs", "cf", "viz", "ca", "Fig", "Vol", "Nos",
];
/// The end of a sentence unless a small letter or a digit follows.
const ABBREVIATIONS: &[&str] = &[
    "Jr", "Sr", "Inc", "Ltd", "Co", "Corp", "Bros", "No", "no", "etc", "al", "ed", "eds", "est",
    "approx", "dept", "ch", "sec", "pp", "p", "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug",
    "Sep", "Sept", "Oct", "Nov", "Dec", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
];

/// Where the first piece of `text` ends, white space after it included; `None` if nothing ends one.
/// White space and byte order marks in front of it are part of it, but change nothing.
pub(super) fn piece_end(text: &str) -> Option<usize> {
    let words = trim_indent(text);
    first_cut(words).map(|end| text.len() - words.len() + end)
}

/// The same for a text that begins with its first word.
fn first_cut(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some((begin, end)) = next_candidate(text, at) {
        if cuts(text, begin, end) {
            return Some(skip(text, end, char::is_whitespace));
        }
        at = end;
    }
    None
}

/// The next run of marks with their closing quotes and brackets, or the next line break, from
/// `at` on.
fn next_candidate(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let begin = at + rest.find(|c| is_mark(c) || is_line_break(c))?;
    let first = char_at(text, begin)?;
    if is_line_break(first) {
        return Some((begin, begin + first.len_utf8()));
    }
    let mut end = begin;
    loop {
        let marks = skip_marks(text, end);
        if marks == end {
            return Some((begin, end));
        }
        end = skip(text, marks, is_closer);
    }
}

/// The end of the marks at `at`; between full stops there may be blanks, as in `. . .`.
fn skip_marks(text: &str, mut at: usize) -> usize {
    while let Some(c) = char_at(text, at).filter(|&c| is_mark(c)) {
        at += c.len_utf8();
        while c == '.'
            && let Some(next) = spaced_stop(text, at)
        {
            at = next;
        }
    }
    at
}

/// The end of a blank and a full stop at `at`.
fn spaced_stop(text: &str, at: usize) -> Option<usize> {
    let blank = char_at(text, at).filter(|c| matches!(c, ' ' | '\u{a0}'))?;
    let stop = at + blank.len_utf8();
    (char_at(text, stop) == Some('.')).then_some(stop + 1)
}

/// Whether the piece that `text` begins with ends with the candidate at `begin..end`.
fn cuts(text: &str, begin: usize, end: usize) -> bool {
    let (Some(before), Some(marks)) = (text.get(..begin), text.get(begin..end)) else {
        return false;
    };
    if marks.starts_with(is_line_break) {
        return true;
    }
    let signs = marks.trim_end_matches(is_closer);
    if signs.contains(|c| WIDE_MARKS.contains(c)) {
        return true;
    }
    let following = char_at(text, end);
    let hard = signs.contains(|c| !matches!(c, ',' | ';' | ':'));
    let long_enough = || {
        let mut piece = text.get(..end).unwrap_or_default().chars();
        piece.nth(MIN_CLAUSE_CHARS - 1).is_some()
    };
    if !hard && !following.is_some_and(is_line_break) && !long_enough() {
        return false;
    }
    let Some(following) = following.filter(|c| !c.is_whitespace()) else {
        return signs != "." || !abbreviates(text, begin, end);
    };
    if !following.is_alphabetic() || in_address(text.get(..end).unwrap_or_default()) {
        return false;
    }
    let previous = before.chars().next_back();
    match signs {
        _ if marks.len() > 1 => true,
        "." => {
            let mut two = before.chars().rev().take(2);
            let small = |c: Option<char>| c.is_some_and(char::is_lowercase);
            small(two.next())
                && small(two.next())
                && following.is_uppercase()
                && small(char_at(text, end + following.len_utf8()))
        }
        "," | ";" => previous.is_some_and(char::is_alphabetic),
        ":" => false,
        _ => true,
    }
}

/// Whether the full stop at `begin`, whose closing marks reach to `end`, is part of an abbreviation
/// or an initial.
fn abbreviates(text: &str, begin: usize, end: usize) -> bool {
    let after = skip(text, end, char::is_whitespace);
    let between = text.get(end..after).unwrap_or_default();
    let (Some(following), Some(before)) = (char_at(text, after), text.get(..begin)) else {
        return false;
    };
    let word = last_word(before);
    if word.is_empty() || between.contains(is_line_break) {
        return false;
    }
    let known = || ABBREVIATIONS.contains(&word) || word.contains('.');
    if end - begin > 1 {
        return following.is_lowercase() && known();
    }
    let last = word.rsplit('.').next().unwrap_or(word);
    let mut letters = last.chars();
    if letters.next().is_some_and(char::is_uppercase) && letters.next().is_none() {
        let previous = before.strip_suffix(word).unwrap_or_default().trim_end();
        return word != "I" || !last_word(previous).starts_with(char::is_lowercase);
    }
    TITLES.contains(&word) || (known() && (following.is_lowercase() || following.is_ascii_digit()))
}

/// The letters that `text` ends with, full stops between them included: `e.g` of `see e.g`.
fn last_word(text: &str) -> &str {
    let from = text
        .char_indices()
        .rev()
        .take(WORD_LOOKBACK)
        .last()
        .map_or(text.len(), |(at, _)| at);
    let tail = text.get(from..).unwrap_or_default();
    let start = tail
        .char_indices()
        .rev()
        .find(|&(_, c)| !c.is_alphabetic() && c != '.')
        .map_or(0, |(at, c)| at + c.len_utf8());
    let word = tail.get(start..).unwrap_or_default();
    if word.ends_with('.') {
        return "";
    }
    // Two full stops in a row are no part of a word.
    let word = word.rsplit("..").next().unwrap_or_default();
    word.trim_start_matches('.')
}

/// Whether `before` ends inside an address: of the web, or for mail.
fn in_address(before: &str) -> bool {
    let token = before
        .char_indices()
        .rev()
        .take(TOKEN_LOOKBACK)
        .take_while(|(_, c)| !c.is_whitespace())
        .last()
        .and_then(|(at, _)| before.get(at..))
        .unwrap_or_default();
    let www = token
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("www."));
    www || token.contains("://") || token.contains('@')
}

fn is_mark(c: char) -> bool {
    match c {
        '.' | '!' | '?' | ',' | ';' | ':' => true,
        _ => !c.is_ascii() && (HARD_MARKS.contains(c) || WIDE_MARKS.contains(c)),
    }
}

fn is_closer(c: char) -> bool {
    match c {
        '"' | '\'' | ')' | ']' | '}' => true,
        _ => !c.is_ascii() && WIDE_CLOSERS.contains(c),
    }
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// The first place from `at` on whose character is not `of` the kind.
fn skip(text: &str, at: usize, of: impl Fn(char) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    text.len() - rest.trim_start_matches(of).len()
}
