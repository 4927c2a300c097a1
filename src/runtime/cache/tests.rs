//! Caches of the small trained backbones, in memory that the processor reads and in such as a
//! device has.

use super::*;
use crate::runtime::testing;

const SHAPE: CacheShape = CacheShape {
    layers: 2,
    heads: 4,
    head_size: 8,
    limit: 12,
};
const HIDDEN: usize = 32;

/// In place, in place with float16, and concatenated.
fn graphs() -> impl Iterator<Item = (&'static str, Graph, Arc<CacheLayout>)> {
    let names = [
        "bundle/cpu-int8",
        "bundle-half/cuda-fp16",
        "bundle/portable",
    ];
    names.into_iter().map(|name| {
        let graph = testing::graph(format!("tests/golden/{name}/backbone.onnx"));
        let layout = CacheLayout::of(&graph, SHAPE).unwrap();
        (name, graph, Arc::new(layout))
    })
}

/// Append one vector to each row; returns the hidden vectors.
fn step(graph: &Graph, cache: &mut KvCache, number: usize) -> Vec<f32> {
    let rows = cache.rows();
    let value = |i: usize| ((i % HIDDEN + 7 * number + i / HIDDEN) as f32).sin();
    let vectors: Vec<f32> = (0..rows * HIDDEN).map(value).collect();
    let positions: Vec<i64> = cache.lengths().iter().map(|&n| n as i64).collect();
    let total = cache.len() + 1;
    let starts: Vec<usize> = cache.lengths().iter().map(|n| total - 1 - n).collect();
    let mask: Vec<bool> = starts
        .iter()
        .flat_map(|&start| (0..total).map(move |position| position >= start))
        .collect();
    let mut inputs = vec![
        Input::floats("inputs_embeds", &[rows, 1, HIDDEN], &vectors),
        Input::ids("position_ids", &[rows, 1], &positions),
    ];
    let mask_shape = [rows, 1, total];
    if !is_in_place(graph) {
        inputs.push(Input::flags("attention_mask", &mask_shape, &mask));
    }
    let wanted = ["hidden", "stop_logits"];
    let run = cache.run(graph, inputs, 1, &wanted, |outputs| {
        Ok(graph.output::<f32>(outputs, "hidden")?.1.to_vec())
    });
    run.unwrap()
}

/// All that is done with caches: steps, rows of several caches in one, prefixes, bytes and back.
fn course(graph: &Graph, layout: &Arc<CacheLayout>) -> Vec<Vec<f32>> {
    let mut cache = KvCache::new(graph, layout, 1).unwrap();
    let mut found: Vec<_> = (0..4)
        .map(|number| step(graph, &mut cache, number))
        .collect();
    let bytes = cache.row_bytes(graph, 0).unwrap();
    let tensors: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let restored = KvCache::from_row_bytes(graph, layout, 4, &tensors);
    let mut restored = restored.unwrap().unwrap();
    found.push(step(graph, &mut restored, 4));
    let rows = [cache.row(0), restored.row(0), cache.row(0).prefix(2)];
    let mut together = KvCache::from_rows(graph, layout, &rows).unwrap();
    found.extend((4..6).map(|number| step(graph, &mut together, number)));
    together.truncate(graph, 3).unwrap();
    let rows = [together.row(2), together.row(0)];
    let mut fewer = KvCache::from_rows(graph, layout, &rows).unwrap();
    found.extend((6..9).map(|number| step(graph, &mut fewer, number)));
    found.push(
        fewer
            .row_bytes(graph, 1)
            .unwrap()
            .concat()
            .iter()
            .map(|&b| b.into())
            .collect(),
    );
    found
}

#[test]
fn the_memory_of_a_device_changes_nothing() {
    for (name, mut graph, layout) in graphs() {
        let expected = course(&graph, &layout);
        assert_ne!(expected[0], expected[3]);
        graph.set_on_device();
        let layout = Arc::new(CacheLayout::clone(&layout).unreadable());
        assert_eq!(course(&graph, &layout), expected, "{name}");
    }
}

/// A row goes on in company as it does alone.
#[test]
fn rows_do_not_depend_on_each_other() {
    for (name, graph, layout) in graphs() {
        let mut alone = KvCache::new(&graph, &layout, 1).unwrap();
        for number in 0..3 {
            step(&graph, &mut alone, number);
        }
        let rows = [alone.row(0), alone.row(0).prefix(1)];
        let mut together = KvCache::from_rows(&graph, &layout, &rows).unwrap();
        let expected = step(&graph, &mut alone, 3);
        let found = step(&graph, &mut together, 3);
        testing::assert_close(&found[..HIDDEN], &expected, 2e-3);
        assert_ne!(found[..HIDDEN], found[HIDDEN..], "{name}");
    }
}

#[test]
fn caches_of_the_processor_are_in_its_memory() {
    for (name, _, layout) in graphs() {
        assert_eq!(layout.memory, Memory::host(), "{name}");
    }
}
