//! Messages of serde in the words of JSON.

use super::shown;

/// What serde calls a value that was expected, and what it is.
const EXPECTED: [(&[&str], &str); 5] = [
    (
        &["u8", "u16", "u32", "u64", "usize"],
        "a whole number that is not negative",
    ),
    (&["f32", "f64"], "a number"),
    (
        &["a string", "string or map", "map with a single key", "unit"],
        "a text",
    ),
    (&["a sequence"], "a list"),
    (&["a map"], "an object"),
];

/// What serde calls a value that was found, and what it is.
const FOUND: [(&str, &str); 3] = [
    ("map", "an object"),
    ("sequence", "a list"),
    ("unit value", "null"),
];

/// The message with what JSON has in place of the names of Rust's types, and with no more than the
/// beginning of a value.
pub fn in_words(message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let is_too_large = found.starts_with("invalid value: integer `") && !found.contains("`-");
    let known = EXPECTED.iter().find(|(names, _)| names.contains(&expected));
    let expected = match known {
        Some(([_, .., "usize"], _)) if is_too_large => "a smaller one",
        Some((_, words)) => words,
        None if is_object(expected) => "an object",
        None => expected,
    };
    let found = match found.split_once(": ") {
        Some((problem, value)) => {
            let known = FOUND.iter().find(|(name, _)| *name == value);
            format!(
                "{problem}: {}",
                known.map_or_else(|| shown(value), |(_, words)| (*words).into())
            )
        }
        None => shown(found),
    };
    format!("{found}, expected {expected}")
}

/// Whether serde names a type of ours that is an object.
fn is_object(expected: &str) -> bool {
    let kinds = [
        "struct ",
        "internally tagged enum ",
        "adjacently tagged enum ",
    ];
    kinds.iter().any(|kind| expected.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_no_types_of_rust() {
        for (message, expected) in [
            (
                "invalid type: integer `7`, expected struct StreamOptions",
                "invalid type: integer `7`, expected an object",
            ),
            (
                "invalid value: integer `-1`, expected usize",
                "invalid value: integer `-1`, expected a whole number that is not negative",
            ),
            (
                "invalid value: integer `4294967296`, expected u32",
                "invalid value: integer `4294967296`, expected a smaller one",
            ),
            (
                "invalid type: map, expected a sequence",
                "invalid type: an object, expected a list",
            ),
            (
                "invalid type: sequence, expected string or map",
                "invalid type: a list, expected a text",
            ),
            (
                "unknown variant `x`, expected one of `a`, `b`",
                "unknown variant `x`, expected one of `a`, `b`",
            ),
            ("missing field `prompt`", "missing field `prompt`"),
        ] {
            assert_eq!(in_words(message), expected);
        }
    }

    #[test]
    fn long_values_are_shortened() {
        let long = "x, expected y".repeat(50_000);
        for message in [
            format!("invalid type: string {long:?}, expected f32"),
            format!("unknown field `{long}`, expected `role` or `content`"),
        ] {
            let shown = in_words(&message);
            assert!(shown.len() < 200, "{shown}");
            assert!(shown.contains("..., expected "), "{shown}");
        }
    }
}
