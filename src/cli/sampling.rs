//! Sampling options, which override the bundle's defaults.

use clap::Args;
use sllm_ort::SamplingOptions;

use super::output;
use crate::number_option::SamplingOverrides;

/// Where an option is not given, the value of the bundle (`generation` in its manifest) is taken,
/// else the one named in its help.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Always take the best token; the same as --temperature 0
    #[arg(long, conflicts_with = "temperature")]
    greedy: bool,
    /// Sampling temperature; 0 is greedy. Fast variants with a large vocabulary sample from the 64
    /// best tokens at most [default: the bundle's, else 0]
    #[arg(short, long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Scale of classifier-free guidance; above 1, sentences keep closer to the context, and each
    /// is decoded twice [default: the bundle's, else 1]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    guidance_scale: Option<f64>,
    /// Sample from the K best tokens only [default: the bundle's, else all]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from the smallest set of best tokens whose total probability reaches P [default: the
    /// bundle's, else 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Sample only from tokens with at least P times the probability of the best one [default: the
    /// bundle's, else 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Never repeat a sequence of N tokens [default: the bundle's, else off]
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,
    /// Repetition penalty on the last 64 tokens; 1 is off [default: the bundle's, else 1]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,
    /// DRY multiplier: penalize tokens that would repeat a sequence of the context; 0 is off
    /// [default: the bundle's, else 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    dry_multiplier: Option<f64>,
    /// DRY base: growth factor of the penalty for each repeated token [default: the bundle's, else
    /// 1.75]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    dry_base: Option<f64>,
    /// DRY allowed length: shortest sequence that is penalized, 1 to 50 tokens [default: the
    /// bundle's, else 2]
    #[arg(long, value_name = "N")]
    dry_allowed_length: Option<usize>,
    /// Random seed; the same seed gives the same text; -1 picks a new seed each time [default: -1]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<i64>,
}

impl SamplingArgs {
    /// The bundle's options with those that were given; a seed is drawn where none was.
    pub fn apply(&self, sampling: SamplingOptions) -> sllm_ort::Result<SamplingOptions> {
        let temperature = if self.greedy {
            Some(0.0)
        } else {
            self.temperature
        };
        let given = SamplingOverrides {
            temperature,
            guidance_scale: self.guidance_scale,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            no_repeat_ngram: self.no_repeat_ngram,
            repetition_penalty: self.repetition_penalty,
            dry_multiplier: self.dry_multiplier,
            dry_base: self.dry_base,
            dry_allowed_length: self.dry_allowed_length,
        };
        let sampling = given.over(sampling)?;
        let seed = match self.seed {
            None | Some(-1) => random_seed(),
            Some(seed) => u64::try_from(seed).map_err(|_| sllm_ort::Error::InvalidOption {
                option: "seed",
                value: seed.to_string(),
                allowed: "0 or more, or -1 for another one each time".into(),
            })?,
        };
        Ok(sampling.with_seed(seed))
    }

    /// Warn of options that were given and have no effect with these.
    pub fn warn_without_effect(&self, sampling: &SamplingOptions) {
        for option in self.without_effect(sampling) {
            output::warn(&format!("{option} has no effect at temperature 0"));
        }
        let of_dry = [
            ("--dry-base", self.dry_base.is_some()),
            ("--dry-allowed-length", self.dry_allowed_length.is_some()),
        ];
        for (option, given) in of_dry {
            if given && sampling.dry_multiplier() == 0.0 {
                output::warn(&format!("{option} has no effect without --dry-multiplier"));
            }
        }
    }

    fn without_effect(&self, sampling: &SamplingOptions) -> Vec<&'static str> {
        if sampling.temperature() > 0.0 {
            return Vec::new();
        }
        let given = [
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        let names = given.into_iter().filter(|(_, given)| *given);
        names.map(|(name, _)| name).collect()
    }
}

/// The largest seed that the option takes.
pub const MAX_SEED: u64 = i64::MAX as u64;

/// A seed of 32 bits, short enough to be typed.
fn random_seed() -> u64 {
    rand::random::<u32>().into()
}
