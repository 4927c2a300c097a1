//! Records of files, read in pieces of all sizes.

use std::io::Write as _;

use super::*;

fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// The records as (offset of the first piece, text), read with pieces of this size.
fn records(content: &[u8], piece_bytes: usize) -> Result<Vec<(u64, String)>> {
    let file = file(content);
    let mut records = Records::open(file.path(), Position::default(), Rule::Original)?;
    records.piece_bytes = piece_bytes;
    let mut found = Vec::new();
    let mut current: Option<(u64, String)> = None;
    while let Some(piece) = records.next_piece()? {
        let (_, text) = current.get_or_insert((piece.offset(0), String::new()));
        text.push_str(piece.text());
        if piece.next_record.is_some() {
            found.extend(current.take());
        }
    }
    Ok(found)
}

#[test]
fn separators_end_records() {
    let rows: [(&str, &[(u64, &str)]); 10] = [
        ("", &[(0, "")]),
        ("  One. \nTwo\n\n", &[(2, "One. \nTwo")]),
        (
            "One.\n<|endoftext|>\nTwo.\n<|endoftext|>\n",
            &[(0, "One."), (19, "Two."), (38, "")],
        ),
        (
            "One.\r\n<|endoftext|>\r\n Two.",
            &[(0, "One."), (22, "Two.")],
        ),
        (
            "<|endoftext|>\n<|endoftext|>",
            &[(0, ""), (14, ""), (27, "")],
        ),
        ("One. <|endoftext|>\nTwo.", &[(0, "One."), (19, "Two.")]),
        ("One.\n<|endoftext|> \nTwo.", &[(0, "One."), (20, "Two.")]),
        (
            "One.\n \t<|endoftext|>\t\r\nTwo.",
            &[(0, "One."), (23, "Two.")],
        ),
        ("One.<|endoftext|>Two.", &[(0, "One."), (17, "Two.")]),
        ("\u{feff}One.\n<|endoftext|>", &[(3, "One."), (21, "")]),
    ];
    for (text, expected) in rows {
        for piece_bytes in [1, 7, 40, PIECE_BYTES] {
            let mut found = records(text.as_bytes(), piece_bytes).unwrap();
            let mut expected: Vec<_> = expected
                .iter()
                .map(|&(offset, text)| (offset, text.to_owned()))
                .collect();
            // Where nothing is left to hand out, the place of it is of no use.
            for (offset, text) in found.iter_mut().chain(&mut expected) {
                if text.is_empty() {
                    *offset = 0;
                }
                *text = text.trim_end().to_owned();
            }
            assert_eq!(found, expected, "{text:?} by {piece_bytes}");
        }
    }
}

#[test]
fn pieces_end_with_a_sentence() {
    let text = "Two of 3.50, Mr. Fox: 二三。” \n another. ".repeat(40);
    let file = file(text.as_bytes());
    for rule in [Rule::Original, Rule::Clauses] {
        let rules = Segmentation::default().with_rule(rule);
        let whole: Vec<_> = rules.segments(text.trim()).collect();
        for piece_bytes in 100..130 {
            let mut records = Records::open(file.path(), Position::default(), rule).unwrap();
            records.piece_bytes = piece_bytes;
            let mut sentences = Vec::new();
            while let Some(piece) = records.next_piece().unwrap() {
                assert!(piece.text().len() <= piece_bytes + LINE_BYTES);
                assert!(text[piece.offset(0) as usize..].starts_with(piece.text()));
                sentences.extend(rules.segments(piece.text()).map(ToOwned::to_owned));
            }
            assert_eq!(sentences, whole, "{rule:?} by {piece_bytes}");
        }
    }
}

#[test]
fn a_position_leads_to_the_rest() {
    let file = file(b"One. Two.\n<|endoftext|>\nThree.");
    let rest = |offset, in_record| {
        let position = Position { offset, in_record };
        let mut records = Records::open(file.path(), position, Rule::Original).unwrap();
        let mut texts = Vec::new();
        while let Some(piece) = records.next_piece().unwrap() {
            texts.push(piece.text().to_owned());
        }
        texts
    };
    assert_eq!(rest(5, true), ["Two.", "Three."]);
    assert_eq!(rest(24, false), ["Three."]);
    assert_eq!(rest(30, false), [""]);
    assert_eq!(rest(10, true), ["", "Three."]);
}

#[test]
fn what_is_not_text_is_named_by_its_place() {
    for (content, expected) in [
        (&b"One.\nTw\xff."[..], 7),
        (b"One.\nTwo \xe2\x80", 9),
        (b"One. Two.\nThree. \xc3\n<|endoftext|>\n", 17),
    ] {
        for piece_bytes in [1, 8, PIECE_BYTES] {
            match records(content, piece_bytes) {
                Err(Error::Text(TextError::NotUtf8 { byte, line, .. })) => {
                    assert_eq!((byte, line), (expected, Some(2)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Whatever breaks its lines, a file has the same text and sentences, each at its own place.
#[test]
fn line_breaks_of_all_systems_are_one() {
    let text = "One line.\nTwo, lines\n\n and three. \n<|endoftext|>\n\nAnother é, \nrecord.";
    let whole: Vec<_> = records(text.as_bytes(), PIECE_BYTES).unwrap();
    let whole: Vec<_> = whole.into_iter().map(|(_, text)| text).collect();
    for line_break in ["\r\n", "\r"] {
        let text = text.replace('\n', line_break);
        let file = file(text.as_bytes());
        for piece_bytes in [1, 2, 3, 7, 12, 40, PIECE_BYTES] {
            let mut found = vec![String::new()];
            let mut records =
                Records::open(file.path(), Position::default(), Rule::Original).unwrap();
            records.piece_bytes = piece_bytes;
            while let Some(piece) = records.next_piece().unwrap() {
                for (at, c) in piece.text().char_indices().filter(|(_, c)| *c != '\n') {
                    let place = piece.offset(at) as usize;
                    assert!(text[place..].starts_with(c), "{at} by {piece_bytes}");
                }
                found.last_mut().unwrap().push_str(piece.text());
                if piece.next_record.is_some() {
                    found.push(String::new());
                }
            }
            found.pop();
            for text in &mut found {
                text.truncate(text.trim_end().len());
            }
            assert_eq!(found, whole, "{line_break:?} by {piece_bytes}");
        }
    }
    match records(b"One.\r\nTwo.\rThree \xff", PIECE_BYTES) {
        Err(Error::Text(TextError::NotUtf8 { byte, line, .. })) => {
            assert_eq!((byte, line), (17, Some(3)))
        }
        other => panic!("{other:?}"),
    }
}
