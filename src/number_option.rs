//! Options whose numbers have 32 bits, set to numbers of 64 bits.

use sllm_ort::{Error, Result, SamplingOptions};

use crate::number::{narrowed, shown};

/// Set an option. An error has the number as it was given.
pub fn set(
    sampling: SamplingOptions,
    number: f64,
    with: fn(SamplingOptions, f32) -> Result<SamplingOptions>,
) -> Result<SamplingOptions> {
    with(sampling, narrowed(number)).map_err(|error| match error {
        Error::InvalidOption {
            option, allowed, ..
        } => Error::InvalidOption {
            option,
            value: shown(number),
            allowed,
        },
        other => other,
    })
}
