//! Sentences to vectors and back.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use tracing::warn;

use crate::{
    error::{Error, Result, TextError},
    generate::OutputTokens,
    graphs::DecodeBuffers,
    logits::{Logits, best_of},
    model::{Autoencoder, Model},
    text::TextSentence,
};

/// Most sentences that are decoded together where all are there at once: more are no faster.
const DECODED_TOGETHER: usize = 32;
/// Most points of [`Model::interpolate`].
const MAX_STEPS: usize = 1024;

/// A sentence that was encoded and decoded again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Reconstruction {
    /// The sentence.
    pub input: String,
    /// Its tokens, without bos and eos.
    pub input_ids: Vec<u32>,
    /// The decoded text.
    pub output: String,
    /// The output tokens: without bos, with eos if it was generated.
    pub output_ids: Vec<u32>,
    /// Whether the output tokens are the input tokens followed by eos.
    pub exact: bool,
}

/// The cosine of the angle between two vectors: -1 to 1, and 0 if one of them is zero.
///
/// # Panics
/// If their lengths differ.
#[must_use]
pub fn cosine_similarity(one: ArrayView1<'_, f32>, other: ArrayView1<'_, f32>) -> f32 {
    let length = |vector: ArrayView1<'_, f32>| vector.dot(&vector).sqrt();
    let lengths = length(one) * length(other);
    if lengths > 0.0 {
        (one.dot(&other) / lengths).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

impl Model {
    /// Encode texts to sentence vectors `[texts, hidden]`; each text is taken as one sentence.
    ///
    /// If the bundle's segmentation truncates, a text that is too long is cut short and a warning
    /// is logged; [`TextPipeline::truncated_tokens`](crate::text::TextPipeline::truncated_tokens)
    /// shows it in advance.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`TextError::SentenceTooLong`] for a text
    /// that does not fit one sentence of the model, those of
    /// [`TextPipeline::one_sentence`](crate::text::TextPipeline::one_sentence), [`Error::Graph`].
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Result<Array2<f32>> {
        let autoencoder = self.autoencoder()?;
        let ids = texts
            .iter()
            .map(|text| autoencoder.one_sentence(text.as_ref()));
        autoencoder
            .encoder
            .encode(&ids.collect::<Result<Vec<_>>>()?)
    }

    /// Encode sentences from [`text_pipeline`](Self::text_pipeline) to vectors `[sentences, hidden]`.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::Graph`].
    pub fn encode_sentences(&self, sentences: &[TextSentence<'_>]) -> Result<Array2<f32>> {
        let prompt_ids = |s: &TextSentence<'_>| self.shared().prompt_ids(s.ids.clone());
        let ids: Vec<_> = sentences.iter().map(prompt_ids).collect();
        self.autoencoder()?.encoder.encode(&ids)
    }

    /// Decode a sentence vector `[hidden]` greedily; returns its text and the output tokens (without
    /// bos, with eos if it was generated).
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::VectorSize`],
    /// [`Error::VectorNotFinite`], [`Error::Graph`].
    pub fn decode<'v>(&self, vector: impl Into<ArrayView1<'v, f32>>) -> Result<(String, Vec<u32>)> {
        let vectors = vector.into().insert_axis(Axis(0));
        Ok(self.decode_vectors(vectors)?.swap_remove(0))
    }

    /// Decode sentence vectors `[sentences, hidden]` greedily, as [`decode`](Self::decode) does one.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_vectors(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<(String, Vec<u32>)>> {
        let autoencoder = self.autoencoder()?;
        let (found, expected) = (vectors.ncols(), self.config().hidden_size);
        if found != expected {
            return Err(Error::VectorSize { found, expected });
        }
        let not_finite = |row: ArrayView1<'_, f32>| !row.iter().all(|value| value.is_finite());
        if let Some(row) = vectors.outer_iter().position(not_finite) {
            return Err(Error::VectorNotFinite { row });
        }
        let decoded = autoencoder.decode_greedily(vectors)?;
        let text = |ids: Vec<u32>| Ok((self.text_pipeline().decode(&ids)?, ids));
        decoded.into_iter().map(text).collect()
    }

    /// The cosine similarity of the vectors of two texts, each taken as one sentence: -1 to 1.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn similarity(&self, one: &str, other: &str) -> Result<f32> {
        let vectors = self.encode(&[one, other])?;
        Ok(cosine_similarity(vectors.row(0), vectors.row(1)))
    }

    /// Decode `steps` (2 to 1024) equally spaced vectors between those of two texts, both ends
    /// included. Each text is taken as one sentence.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for another number of steps; those of [`encode`](Self::encode) and
    /// [`decode`](Self::decode).
    pub fn interpolate(&self, from: &str, to: &str, steps: usize) -> Result<Vec<String>> {
        if !(2..=MAX_STEPS).contains(&steps) {
            return Err(Error::InvalidOption {
                option: "steps",
                value: steps.to_string(),
                allowed: format!("2 to {MAX_STEPS}"),
            });
        }
        let ends = self.encode(&[from, to])?;
        let part = |step: usize| step as f32 / (steps - 1) as f32;
        let vectors = Array2::from_shape_fn((steps, ends.ncols()), |(step, channel)| {
            let [from, to] = [ends[[0, channel]], ends[[1, channel]]];
            from * (1.0 - part(step)) + to * part(step)
        });
        let decoded = self.decode_vectors(vectors.view())?;
        Ok(decoded.into_iter().map(|(text, _)| text).collect())
    }

    /// Encode sentences and decode each again, greedily.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for a model of kind `opt`, [`Error::Graph`].
    pub fn reconstruct(&self, sentences: &[TextSentence<'_>]) -> Result<Vec<Reconstruction>> {
        let vectors = self.encode_sentences(sentences)?;
        let eos = self.shared().special_tokens().eos;
        let one = |(sentence, output_ids): (&TextSentence<'_>, Vec<u32>)| {
            let exact = output_ids.split_last() == Some((&eos, &sentence.ids));
            let pipeline = self.text_pipeline();
            Ok(Reconstruction {
                input: sentence.text.to_owned(),
                input_ids: sentence.ids.clone(),
                output: pipeline.decode_like(&output_ids, sentence.text)?,
                output_ids,
                exact,
            })
        };
        let likely: Vec<&[u32]> = sentences.iter().map(|s| s.ids.as_slice()).collect();
        let decoded = self.autoencoder()?.decode_likely(vectors.view(), &likely)?;
        sentences.iter().zip(decoded).map(one).collect()
    }
}

impl Autoencoder {
    /// What the encoder sees of a text that is one sentence.
    fn one_sentence(&self, text: &str) -> Result<Vec<u32>> {
        let shared = &self.shared;
        let mut pieces = shared.pipeline.one_sentence(text)?;
        let first = pieces.next().transpose()?;
        if first.as_ref().is_some_and(|sentence| sentence.truncated) {
            warn!(
                bytes = text.len(),
                tokens = shared.longest_sentence - 1,
                "a text is cut short to the longest sentence of the model"
            );
        }
        if pieces.next().is_some() {
            return Err(Error::Text(TextError::SentenceTooLong {
                bytes: text.len(),
                limit: shared.longest_sentence - 1,
            }));
        }
        Ok(shared.prompt_ids(first.map(|sentence| sentence.ids).unwrap_or_default()))
    }

    /// The same as `decode_greedily`, where the tokens are likely to be known: they are verified, all
    /// of a sentence in one run. What is not as expected is decoded token by token.
    fn decode_likely(
        &self,
        vectors: ArrayView2<'_, f32>,
        likely: &[&[u32]],
    ) -> Result<Vec<Vec<u32>>> {
        let tokens = self.shared.special_tokens();
        let vocab_size = self.decoder.vocab_size();
        let mut output: Vec<Vec<u32>> = likely
            .iter()
            .map(|ids| [*ids, &[tokens.eos]].concat())
            .collect();
        let vectors = vectors.as_standard_layout();
        let conditions: Vec<_> = vectors
            .rows()
            .into_iter()
            .filter_map(|row| Some(self.decoder.conditions(row.to_slice()?)))
            .collect();
        let conditions: Vec<&[f32]> = conditions.iter().map(|condition| &**condition).collect();
        let mut others = Vec::new();
        self.decoder
            .each_teacher_forced(tokens.bos, &conditions, likely, |index, logits| {
                let mut chosen = output[index].iter().zip(logits.chunks_exact(vocab_size));
                let is_chosen = |(&id, logits): (&u32, &[f32])| {
                    best_of(logits) == id as usize && logits.iter().all(|logit| logit.is_finite())
                };
                let ended = likely[index].contains(&tokens.eos);
                if ended || !chosen.all(is_chosen) {
                    others.push(index);
                }
            })?;
        let decoded = self.decode_greedily(vectors.select(Axis(0), &others).view())?;
        for (index, ids) in others.into_iter().zip(decoded) {
            output[index] = ids;
        }
        Ok(output)
    }

    /// The output tokens for each of these vectors `[sentences, hidden]`, greedily.
    fn decode_greedily(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<Vec<u32>>> {
        let tokens = self.shared.special_tokens();
        let none = OutputTokens::new(tokens, self.shared.longest_sentence);
        let mut output = vec![none; vectors.nrows()];
        let mut buffers = DecodeBuffers::default();
        let chunks = vectors.axis_chunks_iter(Axis(0), DECODED_TOGETHER);
        for (vectors, output) in chunks.zip(output.chunks_mut(DECODED_TOGETHER)) {
            let vectors: Vec<f32> = vectors.iter().copied().collect();
            let mut failed = Ok(());
            let next = |sentence: usize, logits: Result<&mut Logits>| match logits {
                Ok(logits) => output[sentence].push(logits.best_token().0),
                Err(error) => {
                    failed = Err(error);
                    None
                }
            };
            let conditions = self.decoder.conditions(&vectors);
            self.decoder
                .decode(&mut buffers, tokens.bos, &conditions, next)?;
            failed?;
        }
        Ok(output.into_iter().map(OutputTokens::into_ids).collect())
    }
}
