//! Long sentences split between words, where a clause begins, into parts of similar length.
//!
//! `export/sllm_train/text/split.py` is the same in Python.

use std::borrow::Cow;

use super::{LongSentence, SentenceTokenizer, TextSentence, split};
use crate::error::Result;

/// Words that begin a clause or a phrase.
const CONNECTIVES: &[&str] = &[
    "and", "but", "or", "nor", "so", "yet", "for", "because", "although", "though", "while",
    "when", "whenever", "where", "wherever", "who", "whom", "whose", "which", "that", "if",
    "unless", "until", "till", "since", "before", "after", "as", "than", "then", "to", "of", "in",
    "on", "at", "by", "with", "without", "from", "into", "onto", "upon", "over", "under",
    "through", "between", "among", "across", "against", "along", "around", "behind", "beside",
    "beyond", "during", "near", "toward", "towards", "about", "like",
];
const CLAUSE_ENDS: &[char] = &[',', ';', ':', '—', '–', ')', ']'];
/// Bytes per token of the window that is looked at first: about twice what English has.
const WINDOW_BYTES_PER_TOKEN: usize = 8;
/// How much of an endless word is looked at, in the windows that splitting begins with: a power of
/// two, so that splitting sees the windows of the whole word.
const FIRST_WINDOWS: usize = 4;

/// The beginning of `text` that has at most `limit` tokens in its `form`; all of it if that fits.
pub(super) fn first_part<'t>(
    tokenizer: &SentenceTokenizer,
    text: &'t str,
    limit: usize,
    form: impl Fn(&str) -> Cow<'_, str>,
) -> Result<TextSentence<'t>> {
    let mut size = limit.saturating_mul(2 * WINDOW_BYTES_PER_TOKEN);
    if text.len() <= size {
        let ids = tokenizer.encode(&form(text))?;
        if ids.len() <= limit {
            return Ok(TextSentence {
                text,
                ids,
                truncated: false,
            });
        }
    }
    loop {
        let (window, ends_in_word) = window(text, size);
        let whole = window.len() == text.len();
        let formed = form(window);
        let encoded = tokenizer.encode_with_ends(&formed)?;
        let tokens = encoded.ids.len();
        if whole && tokens <= limit {
            return Ok(TextSentence {
                text,
                ids: encoded.ids,
                truncated: false,
            });
        }
        if ends_in_word && tokens > limit {
            return part_of_word(tokenizer, text, limit, form);
        }
        if whole || tokens > 2 * limit {
            let words: Vec<&str> = formed.split_whitespace().collect();
            let counts = tokens_of_words(&formed, &words, &encoded.ends);
            let first = split_at(&words, &counts, tokens, limit);
            let part = word_start(text, first).and_then(|end| text.get(..end));
            if let Some(part) = part {
                let ids = tokenizer.encode(&form(part))?;
                if !ids.is_empty() && ids.len() <= limit {
                    return Ok(TextSentence {
                        text: part,
                        ids,
                        truncated: false,
                    });
                }
            }
            return part_of_word(tokenizer, text, limit, form);
        }
        size = size.saturating_mul(2);
    }
}

/// The beginning of a text whose first word has more than `limit` tokens, with the white space
/// that follows it.
fn part_of_word<'t>(
    tokenizer: &SentenceTokenizer,
    text: &'t str,
    limit: usize,
    form: impl Fn(&str) -> Cow<'_, str>,
) -> Result<TextSentence<'t>> {
    let first = piece_of_word(tokenizer, text, limit)?;
    let rest = text.get(first.text.len()..).unwrap_or_default();
    let end = text.len() - rest.trim_start().len();
    let part = text.get(..end).unwrap_or(text);
    let ids = tokenizer.encode(&form(part))?;
    // A line break behind the part is a token too: where there is none left, it is not seen.
    let fits = !ids.is_empty() && ids.len() <= limit;
    Ok(TextSentence {
        text: part,
        ids: if fits { ids } else { first.ids },
        truncated: false,
    })
}

/// The beginning of the first word of `text`, and of the white space in front of it, that has at
/// most `limit` tokens.
fn piece_of_word<'t>(
    tokenizer: &SentenceTokenizer,
    text: &'t str,
    limit: usize,
) -> Result<TextSentence<'t>> {
    let mut size = split::first_window(limit).saturating_mul(FIRST_WINDOWS);
    loop {
        let head = text.get(..text.floor_char_boundary(size)).unwrap_or(text);
        // White space behind the word is none of its tokens: the tokenizer may not even know it.
        let after = head.trim_start();
        let after = after.trim_start_matches(|c: char| !c.is_whitespace());
        let word = head.get(..head.len() - after.len()).unwrap_or(head);
        let first = split::first_piece(tokenizer, word, limit, LongSentence::Split)?;
        // All of a head that ends within the word, or in front of it: more may fit.
        let may_be_longer = first.text.len() == head.len() && head.len() < text.len();
        if !may_be_longer {
            return Ok(first);
        }
        size = size.saturating_mul(2);
    }
}

/// The words of `text` within `size` bytes, and whether they are only the beginning of one word.
fn window(text: &str, size: usize) -> (&str, bool) {
    if size >= text.len() {
        return (text, false);
    }
    let head = text.get(..text.floor_char_boundary(size)).unwrap_or(text);
    let end = head.trim_end_matches(|c: char| !c.is_whitespace()).len();
    match head.get(..end).filter(|words| !words.trim().is_empty()) {
        Some(words) => (words, false),
        None => (head, true),
    }
}

/// How many of the tokens, given by the `ends` of their text in `formed`, each word has.
fn tokens_of_words(formed: &str, words: &[&str], ends: &[usize]) -> Vec<usize> {
    let base = formed.as_ptr().addr();
    let starts: Vec<usize> = words
        .iter()
        .map(|word| word.as_ptr().addr() - base)
        .collect();
    let mut counts = vec![0; words.len()];
    // A blank that is a token of its own ends where its word begins.
    for &end in ends {
        let word = starts
            .partition_point(|&start| start <= end)
            .saturating_sub(1);
        if let Some(count) = counts.get_mut(word) {
            *count += 1;
        }
    }
    counts
}

/// The number of words of the first part, at least one.
fn split_at(words: &[&str], counts: &[usize], tokens: usize, limit: usize) -> usize {
    let (target, low, high) = if tokens <= 2 * limit {
        let target = tokens.div_ceil(2);
        let low = (tokens - limit).max(target.saturating_sub(limit / 4));
        (target, low, limit.min(target + limit / 4))
    } else {
        (3 * limit / 4, limit / 2, limit)
    };
    let mut best = None;
    let (mut before, mut fitting) = (0, 1);
    for (word, count) in counts.iter().enumerate() {
        if word > 0 && (low..=high).contains(&before) {
            let candidate = (rank(words, word), before.abs_diff(target), word);
            best = Some(best.map_or(candidate, |best: (usize, usize, usize)| best.min(candidate)));
        }
        if word > 0 && before <= limit {
            fitting = word;
        }
        before += count;
        if before > limit {
            break;
        }
    }
    best.map_or(fitting, |(_, _, word)| word)
}

/// 0 for a split between clauses, 1 for any other between words.
fn rank(words: &[&str], word: usize) -> usize {
    let ends = words[word - 1].ends_with(CLAUSE_ENDS);
    let begins = || CONNECTIVES.contains(&words[word].to_lowercase().as_str());
    usize::from(!(ends || begins()))
}

/// Where the word of this number, from 0, begins in `text`.
fn word_start(text: &str, number: usize) -> Option<usize> {
    let word = text.split_whitespace().nth(number)?;
    Some(word.as_ptr().addr() - text.as_ptr().addr())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Table {
        splits: Vec<Case>,
    }

    #[derive(Debug, Deserialize)]
    struct Case {
        words: Vec<String>,
        tokens: Vec<usize>,
        limit: usize,
        starts: Vec<usize>,
    }

    /// All splits, each after what is left of the one before.
    fn split(words: &[&str], counts: &[usize], limit: usize) -> Vec<usize> {
        let (mut starts, mut first) = (Vec::new(), 0);
        loop {
            let rest: usize = counts[first..].iter().sum();
            if rest <= limit {
                return starts;
            }
            first += split_at(&words[first..], &counts[first..], rest, limit);
            if first >= words.len() {
                return starts;
            }
            starts.push(first);
        }
    }

    #[test]
    fn splits_are_those_of_python() {
        let table: Table =
            serde_json::from_str(include_str!("../../tests/data/segmentation.json")).unwrap();
        assert!(table.splits.len() > 8);
        for case in &table.splits {
            let words: Vec<&str> = case.words.iter().map(String::as_str).collect();
            let starts = split(&words, &case.tokens, case.limit);
            assert_eq!(starts, case.starts, "{case:?}");
        }
    }

    /// As much of an endless word is looked at as splitting needs, and no other part is taken.
    #[test]
    fn the_end_of_a_long_word_does_not_matter() {
        let bundle = crate::bundle::Bundle::open("tests/golden/bundle").unwrap();
        let tokenizer = bundle.load_tokenizer().unwrap();
        let parts = ["hello", "a1b2", "\u{e9}", "..!", "the", "--"];
        for length in [1, 5, 31, 32, 33, 64, 200, 700] {
            let word: String = (0..length).map(|at| parts[at * at % 7 % 6]).collect();
            for indent in ["", "  ", &" ".repeat(300)] {
                for limit in [1, 2, 3, 8, 23, 500] {
                    let whole = format!("{indent}{word}");
                    let policy = LongSentence::Split;
                    let expected = split::first_piece(&tokenizer, &whole, limit, policy);
                    for behind in ["", " and more"] {
                        let text = format!("{whole}{behind}");
                        let found = piece_of_word(&tokenizer, &text, limit);
                        match (&expected, &found) {
                            (Ok(expected), Ok(found)) => assert_eq!(found, expected),
                            (Err(expected), Err(found)) => {
                                assert_eq!(found.to_string(), expected.to_string());
                            }
                            other => panic!("{length} {limit}: {other:?}"),
                        }
                    }
                }
            }
        }
    }
}
