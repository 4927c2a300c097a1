//! Conversion and display of numbers given by users. The library and the program each have this
//! module.

use std::fmt::{Display, LowerExp};

/// The nearest number of 32 bits. One that is not 0 does not become 0, and a finite one stays finite.
pub fn narrowed(number: f64) -> f32 {
    let nearest = number as f32;
    if number != 0.0 && nearest.abs() < f32::MIN_POSITIVE {
        return f32::MIN_POSITIVE.copysign(nearest);
    }
    match number.is_finite() {
        true => nearest.clamp(f32::MIN, f32::MAX),
        false => nearest,
    }
}

/// A number in few characters, for a message: `0.5`, `1e-45`.
pub fn shown<T: Copy + Display + LowerExp + Into<f64>>(number: T) -> String {
    let size = number.into().abs();
    match size == 0.0 || (1e-4..1e16).contains(&size) {
        true => number.to_string(),
        false => format!("{number:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_becomes_another_kind_of_number() {
        for (number, expected) in [
            (0.0, 0.0),
            (0.1, 0.1),
            (-2.5, -2.5),
            (1e-46, f32::MIN_POSITIVE),
            (1e-320, f32::MIN_POSITIVE),
            (-1e-300, -f32::MIN_POSITIVE),
            (1e300, f32::MAX),
            (-1e39, f32::MIN),
            (f64::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(narrowed(number), expected, "{number:e}");
        }
        assert!(narrowed(f64::NAN).is_nan());
    }

    #[test]
    fn numbers_are_shown_shortly() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (100.0, "100"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-5, "1e-5"),
            (1e15, "1000000000000000"),
            (1e300, "1e300"),
            (-1e300, "-1e300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(shown(number), expected);
        }
        assert_eq!(shown(0.1_f32), "0.1");
        assert_eq!(shown(f32::from_bits(1)), "1e-45");
    }
}
