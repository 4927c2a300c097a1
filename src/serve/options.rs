//! Generation options of a request.

use serde::Deserialize;
use sllm_ort::{GenerateOptions, Model, SamplingOptions};
use utoipa::ToSchema;

use super::{
    body::{Fields, Neutral, Unsupported},
    error::ApiError,
    json::Object,
};
use crate::number_option::SamplingOverrides;

/// Most stop texts, as in OpenAI's API.
const MAX_STOP_TEXTS: usize = 4;
/// Most hypotheses of a sentence.
const MAX_BEST_OF: usize = 20;

/// Fields of every request that generates. The defaults are those of `sllm-ort run`: the model's
/// own settings, and at most 16 sentences.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Generation {
    /// Most output tokens, ends of sentences included. The sentence that reaches it is cut there.
    pub max_tokens: Option<usize>,
    /// Most sentences; 16 by default.
    pub max_sentences: Option<usize>,
    /// 0 (greedy) to 100. By default the model's own, not 1.
    #[schema(minimum = 0.0, maximum = 100.0)]
    pub temperature: Option<f64>,
    /// Above 0 to 1.
    #[schema(exclusive_minimum = 0.0, maximum = 1.0)]
    pub top_p: Option<f64>,
    /// 1 (none) to 10: above 1, sentences keep closer to the context (classifier-free guidance), and
    /// only tokens with at least a tenth of the best one's probability are chosen, whatever
    /// `temperature` and `min_p` are.
    #[schema(minimum = 1.0, maximum = 10.0)]
    pub guidance_scale: Option<f64>,
    #[schema(minimum = 1)]
    pub top_k: Option<usize>,
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub min_p: Option<f64>,
    /// 1 (none) to 10.
    #[schema(minimum = 1.0, maximum = 10.0)]
    pub repetition_penalty: Option<f64>,
    /// 0 (none) to 10: tokens that would repeat a sequence of the context become less likely (DRY).
    #[schema(minimum = 0.0, maximum = 10.0)]
    pub dry_multiplier: Option<f64>,
    /// 1 to 10: the growth factor of DRY's penalty per token of the sequence.
    #[schema(minimum = 1.0, maximum = 10.0)]
    pub dry_base: Option<f64>,
    /// The shortest sequence that DRY penalizes, in tokens.
    #[schema(minimum = 1, maximum = 50)]
    pub dry_allowed_length: Option<usize>,
    /// Never repeat a sequence of this many tokens.
    #[schema(minimum = 1)]
    pub no_repeat_ngram: Option<usize>,
    /// Do not repeat a sentence.
    pub avoid_repeats: Option<bool>,
    /// The same seed gives the same text. Choice i of a request has this seed plus i.
    #[schema(minimum = 0)]
    pub seed: Option<u64>,
    /// Decode each sentence this many times, and keep the likeliest. Above 1, the temperature must
    /// be above 0.
    #[schema(minimum = 1, maximum = 20)]
    pub best_of: Option<usize>,
    /// Texts to stop before, 4 at most. In a session, a sentence that was given out before the stop
    /// text was complete stays whole.
    pub stop: Option<OneOrMany>,
    /// Ignore a predicted end of the text, and continue.
    pub ignore_eos: Option<bool>,
}

/// What a stream contains besides its text.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// One more chunk at the end, with the numbers of tokens.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

impl StreamOptions {
    pub const UNSUPPORTED: Unsupported = &[("include_obfuscation", Neutral::False)];

    /// Whether the usage is asked for; only streams have these options.
    pub fn usage(options: Option<&Object<Self>>, stream: bool) -> Result<bool, ApiError> {
        match options {
            Some(_) if !stream => Err(ApiError::invalid(
                "stream_options",
                "stream_options is for streams only: set `stream` to true",
            )),
            options => Ok(options.and_then(|options| options.0.include_usage) == Some(true)),
        }
    }
}

/// A text or a list of texts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl Fields for Generation {
    const FIELDS: &'static [&'static str] = &[
        "max_tokens",
        "max_sentences",
        "temperature",
        "top_p",
        "guidance_scale",
        "top_k",
        "min_p",
        "repetition_penalty",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "no_repeat_ngram",
        "avoid_repeats",
        "seed",
        "best_of",
        "stop",
        "ignore_eos",
    ];
    type Part = ();
}

impl Generation {
    /// A seed for the request, if it names none.
    pub fn draw_seed(&mut self) {
        self.seed
            .get_or_insert_with(|| rand::random::<u32>().into());
    }

    /// The options of a choice with this model.
    pub fn options(&self, model: &Model, choice: usize) -> Result<GenerateOptions, ApiError> {
        // Before the library, whose limits are wider.
        self.check_stop()?;
        let best_of = self.best_of.unwrap_or(1);
        if !(1..=MAX_BEST_OF).contains(&best_of) {
            return Err(ApiError::invalid(
                "best_of",
                format!("best_of is {best_of}, allowed is 1 to {MAX_BEST_OF}"),
            ));
        }
        let refused = |error| ApiError::of_library(&error, "prompt");
        let sampling = self.sampling(model, choice).map_err(refused)?;
        let mut options = GenerateOptions::default()
            .with_sampling(sampling)
            .with_max_tokens(self.max_tokens)
            .with_ignore_eos(self.ignore_eos.unwrap_or(false))
            .with_best_of(best_of)
            .map_err(refused)?;
        if let Some(sentences) = self.max_sentences {
            options = options.with_max_sentences(sentences);
        }
        if let Some(avoid) = self.avoid_repeats {
            options = options.with_avoid_repeats(avoid);
        }
        for text in self.stop.iter().flat_map(OneOrMany::as_slice) {
            options = options.with_stop_text(text).map_err(refused)?;
        }
        Ok(options)
    }

    /// Refuse stop texts with the place of the first one that is not allowed.
    fn check_stop(&self) -> Result<(), ApiError> {
        let Some(OneOrMany::Many(stops)) = &self.stop else {
            return Ok(());
        };
        if stops.len() > MAX_STOP_TEXTS {
            return Err(ApiError::invalid(
                "stop",
                format!(
                    "stop has {} texts, at most {MAX_STOP_TEXTS} are allowed",
                    stops.len()
                ),
            ));
        }
        for (index, text) in stops.iter().enumerate() {
            if let Err(error) = GenerateOptions::default().with_stop_text(text) {
                return Err(ApiError::of_element(&error, &format!("stop[{index}]")));
            }
        }
        Ok(())
    }

    fn sampling(&self, model: &Model, choice: usize) -> sllm_ort::Result<SamplingOptions> {
        let given = SamplingOverrides {
            temperature: self.temperature,
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
        let sampling = given.over(model.sampling().clone())?;
        let seed = self.seed.unwrap_or_default();
        Ok(sampling.with_seed(seed.wrapping_add(choice as u64)))
    }
}
