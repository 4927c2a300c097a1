//! Attention of tokens to the slots of their sentence's vector.

use std::sync::{Arc, Mutex};

use ort::{
    operator::{
        ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
        ShapeInferenceContext,
    },
    value::TensorElementType::{Float32, Int64},
};

use super::{
    super::{
        MatMulKernel,
        replaced::{SLOT_ATTENTION, WEIGHTS},
        slot_memory::{SlotMemory, SlotWeights},
    },
    Loaded, PART_PRODUCTS, in_parallel, infer_from_first, numbered, required, values,
};

/// Inputs: queries f32 [batch, tokens, D], sentence vectors f32 [batch, D], and position ids i64
/// [batch, tokens]; output: f32 [batch, tokens, D].
pub(super) struct SlotAttention(pub Loaded);

impl Operator for SlotAttention {
    type Kernel<'attr> = Attention;

    fn name(&self) -> &str {
        SLOT_ATTENTION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [Float32, Float32, Int64].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Attention> {
        Ok(Attention {
            kernel: self.0.kernel,
            max_parts: self.0.max_parts,
            weights: numbered(&self.0.slots, context.get(WEIGHTS))?,
            memories: Vec::new(),
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let weights = numbered(&self.0.slots, Some(context.attr::<i64>(WEIGHTS)?))?;
        infer_from_first(context, SLOT_ATTENTION, weights.hidden)
    }
}

/// For one run at a time.
pub(super) struct Attention {
    kernel: MatMulKernel,
    max_parts: usize,
    weights: Arc<SlotWeights>,
    /// Of the sentences of the last run, by row.
    memories: Vec<SlotMemory>,
}

/// A row of the batch.
struct Row<'a> {
    sentence: &'a [f32],
    memory: SlotMemory,
    /// [tokens, D].
    queries: &'a [f32],
    positions: &'a [usize],
    mixed: &'a mut [f32],
}

impl Kernel for Attention {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let [queries, sentences, positions] = [0, 1, 2].map(|input| context.input(input));
        let (queries, sentences) = (required(queries?)?, required(sentences?)?);
        let positions = required(positions?)?;
        let (shape, queries) = values::<f32>(&queries)?;
        let (sentences_shape, sentences) = values::<f32>(&sentences)?;
        let (positions_shape, positions) = values::<i64>(&positions)?;
        let hidden = self.weights.hidden;
        let &[batch, tokens, columns] = shape else {
            return Err(ort::Error::new("the queries are no vectors of tokens"));
        };
        let fits = columns == hidden as i64
            && sentences_shape == [batch, columns]
            && positions_shape == [batch, tokens];
        if !fits {
            return Err(ort::Error::new("the inputs do not fit each other"));
        }
        let positions = self.positions(positions)?;
        let mut output = required(context.output(0, shape.to_vec())?)?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let tokens = tokens as usize;
        if output.is_empty() {
            return Ok(());
        }
        let memories = self.of_the_same(sentences);
        let rows = memories
            .into_iter()
            .zip(sentences.chunks_exact(hidden))
            .zip(queries.chunks_exact(tokens * hidden))
            .zip(positions.chunks_exact(tokens))
            .zip(output.chunks_exact_mut(tokens * hidden));
        let rows: Vec<Row<'_>> = rows
            .map(|((((memory, sentence), queries), positions), mixed)| Row {
                sentence,
                memory,
                queries,
                positions,
                mixed,
            })
            .collect();
        self.memories = self.attend(context, rows)?;
        Ok(())
    }
}

impl Attention {
    fn positions(&self, positions: &[i64]) -> ort::Result<Vec<usize>> {
        let known = |&position: &i64| {
            let position = usize::try_from(position).ok();
            position.filter(|&position| position < self.weights.positions())
        };
        let positions = positions.iter().map(known).collect::<Option<_>>();
        positions.ok_or_else(|| ort::Error::new("a position is beyond the longest sentence"))
    }

    /// The memories of the last run for the sentences of this one: rows leave a batch and join it,
    /// and keep their order. A row whose sentence is new has one of another sentence, or an empty one.
    fn of_the_same(&mut self, sentences: &[f32]) -> Vec<SlotMemory> {
        let mut known = self.memories.drain(..).map(Some).collect::<Vec<_>>();
        let mut first = 0;
        let found = sentences.chunks_exact(self.weights.hidden).map(|sentence| {
            let rest = &mut known[first..];
            let is_same = |memory: &Option<SlotMemory>| {
                memory.as_ref().is_some_and(|memory| memory.is_of(sentence))
            };
            let place = rest.iter().position(is_same)?;
            first += place + 1;
            rest[place].take()
        });
        let found: Vec<Option<SlotMemory>> = found.collect();
        let mut unused = known.into_iter().flatten();
        let or_unused = |memory: Option<SlotMemory>| memory.or_else(|| unused.next());
        let memories = found.into_iter().map(or_unused);
        memories.map(Option::unwrap_or_default).collect()
    }

    /// Fill the rows; returns their memories.
    fn attend(
        &self,
        context: &ComputeContext,
        mut rows: Vec<Row<'_>>,
    ) -> ort::Result<Vec<SlotMemory>> {
        let weights = &*self.weights;
        let products = |row: &Row<'_>| {
            let memory = match row.memory.is_of(row.sentence) {
                true => 0,
                false => weights.memory_products(),
            };
            memory + row.positions.len() * weights.token_products()
        };
        let products: usize = rows.iter().map(products).sum();
        let parts = products.div_ceil(PART_PRODUCTS).clamp(1, self.max_parts);
        let rows_of_part = rows.len().div_ceil(parts);
        let parts: Vec<_> = rows.chunks_mut(rows_of_part).map(Mutex::new).collect();
        in_parallel(context, &parts, |_, rows| {
            for row in rows.iter_mut() {
                row.attend(self.kernel, weights);
            }
        })?;
        drop(parts);
        Ok(rows.into_iter().map(|row| row.memory).collect())
    }
}

impl Row<'_> {
    fn attend(&mut self, kernel: MatMulKernel, weights: &SlotWeights) {
        if !self.memory.is_of(self.sentence) {
            self.memory.set(kernel, weights, self.sentence);
        }
        let hidden = weights.hidden;
        let queries = self.queries.chunks_exact(hidden);
        let mixed = self.mixed.chunks_exact_mut(hidden);
        for ((query, mixed), &position) in queries.zip(mixed).zip(self.positions) {
            self.memory.attend(kernel, weights, query, position, mixed);
        }
    }
}
