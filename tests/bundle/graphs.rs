//! Where a graph's external data may be, and graphs that are no ONNX.

use sllm_ort::{Error, bundle::GraphRole, error::BundleError};

use crate::fixture::{Fixture, field, graph_with_data};

#[test]
fn external_data_must_be_listed() {
    let bundle = Fixture::new().open().unwrap();
    let encoder = bundle.variants[0].graph(GraphRole::Encoder).unwrap();
    let decoder = bundle.variants[0].graph(GraphRole::Decoder).unwrap();
    // Every way to a tensor: initializer, sparse, attribute of a node, of a function, subgraph, training.
    let ways: [&[u8]; 12] = [
        &[7, 5],
        &[7, 15, 1],
        &[7, 15, 2],
        &[7, 1, 5, 5],
        &[7, 1, 5, 10],
        &[7, 1, 5, 22, 1],
        &[7, 1, 5, 23, 2],
        &[7, 1, 5, 6, 5],
        &[7, 1, 5, 11, 1, 5, 5],
        &[25, 7, 5, 5],
        &[25, 11, 5],
        &[20, 1, 5],
    ];
    for way in ways {
        for location in [
            "../encoder.data",
            "/etc/passwd",
            "./encoder.data",
            "",
            "data/encoder.data",
        ] {
            let graph = graph_with_data(way, location);
            let error = encoder.verify_external_data(&graph).unwrap_err();
            let found = matches!(&error, Error::Bundle(BundleError::UnlistedExternalData { location: l, .. }) if l == location);
            assert!(found, "{way:?} {location}: {error}");
        }
        let listed = graph_with_data(way, "encoder.data");
        // That the file is gone with the fixture shows that the reference was accepted.
        assert!(matches!(
            encoder.verify_external_data(&listed),
            Err(Error::Read { .. })
        ));
        assert!(matches!(
            decoder.verify_external_data(&listed),
            Err(Error::Bundle(BundleError::UnlistedExternalData { .. }))
        ));
    }
    // Names of tensors are no references.
    let other = field(7, &field(5, &field(8, b"location")));
    decoder.verify_external_data(&other).unwrap();
}

#[test]
fn graphs_that_are_no_onnx() {
    let bundle = Fixture::new().open().unwrap();
    let decoder = bundle.variants[0].graph(GraphRole::Decoder).unwrap();
    let control_flow = (0..50).fold(Vec::new(), |inner, _| {
        field(1, &field(5, &field(6, &inner)))
    });
    let deep = field(7, &control_flow);
    let good = graph_with_data(&[7, 5], "");
    let cases: [&[u8]; 7] = [
        b"<!DOCTYPE html>",
        &[0x3a],
        &[0x3a, 200],
        &[
            0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
        ],
        &[0xff; 20],
        &good[..good.len() - 1],
        &deep,
    ];
    for graph in cases {
        let error = decoder.verify_external_data(graph).unwrap_err();
        assert!(
            matches!(error, Error::Bundle(BundleError::MalformedGraph { .. })),
            "{graph:?}: {error}"
        );
    }
    let message = decoder
        .verify_external_data(cases[2])
        .unwrap_err()
        .to_string();
    let expected =
        "decoder.onnx: not an ONNX graph (a field cut short at byte 2): export the bundle again";
    assert!(message.ends_with(expected), "{message}");
}
