//! Bundles whose files are in memory.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

/// What messages call the directory of such a bundle.
pub(super) const MEMORY: &str = "<memory>";

/// The content of a file; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum FileBytes {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl FileBytes {
    /// The content on its own; a copy of what is part of the program.
    pub fn shared(&self) -> Arc<[u8]> {
        match self {
            Self::Static(bytes) => Arc::from(*bytes),
            Self::Shared(bytes) => bytes.clone(),
        }
    }
}

impl From<Cow<'static, [u8]>> for FileBytes {
    fn from(bytes: Cow<'static, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => Self::Static(bytes),
            Cow::Owned(bytes) => Self::Shared(bytes.into()),
        }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    use crate::{
        LoadOptions, Model,
        bundle::{Bundle, MANIFEST_NAME},
        hash::hexadecimal,
        protobuf::{Fields, put_bytes, put_integer},
    };

    const BUNDLE: &str = "tests/golden/bundle-fast";
    const GRAPHS: [&str; 3] = ["encoder", "backbone", "decoder"];

    /// The message with each field of this number replaced by what `change` makes of it.
    fn with_fields(
        message: &[u8],
        number: u64,
        mut change: impl FnMut(&[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        let mut changed = Vec::new();
        for field in Fields::new(message).map(Result::unwrap) {
            match field.number == number {
                true => put_bytes(&mut changed, number, &change(field.bytes())),
                false => changed.extend_from_slice(field.encoded),
            }
        }
        changed
    }

    /// The tensor with its `raw_data` moved to the end of `data`.
    fn with_external_data(tensor: &[u8], location: &str, data: &mut Vec<u8>) -> Vec<u8> {
        let fields = || Fields::new(tensor).map(Result::unwrap);
        // Shapes must be in the graph itself.
        let raw = fields().find(|field| field.number == 9 && field.bytes().len() >= 256);
        let Some(raw) = raw else {
            return tensor.to_vec();
        };
        let others = fields().filter(|field| field.number != 9);
        let mut changed: Vec<u8> = others.flat_map(|field| field.encoded.to_vec()).collect();
        for (key, value) in [
            ("location", location.to_owned()),
            ("offset", data.len().to_string()),
            ("length", raw.bytes().len().to_string()),
        ] {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, value.as_bytes());
            put_bytes(&mut changed, 13, &entry);
        }
        put_integer(&mut changed, 14, 1);
        data.extend_from_slice(raw.bytes());
        data.resize(data.len().next_multiple_of(4096), 0);
        changed
    }

    /// The files of the first variant of [`BUNDLE`], with the weights of its graphs as external
    /// data.
    fn files() -> Vec<(String, Vec<u8>)> {
        let read = |name: &str| fs::read(Path::new(BUNDLE).join(name)).unwrap();
        let entry = |name: &str, content: &[u8]| {
            let hash = hexadecimal(&Sha256::digest(content));
            json!({"file": name, "sha256": hash})
        };
        let mut manifest: Value = serde_json::from_slice(&read(MANIFEST_NAME)).unwrap();
        manifest["variants"].as_array_mut().unwrap().truncate(1);
        let mut files = vec![("tokenizer.json".to_owned(), read("tokenizer.json"))];
        for role in GRAPHS {
            let graph = &mut manifest["variants"][0]["graphs"][role];
            let name = graph["file"].as_str().unwrap().to_owned();
            let (data_name, mut data) = (format!("{role}.data"), Vec::new());
            let content = with_fields(&read(&name), 7, |graph| {
                with_fields(graph, 5, |tensor| {
                    with_external_data(tensor, &data_name, &mut data)
                })
            });
            assert!(data.len() > 4096);
            let data_name = format!("cpu-int8/{data_name}");
            *graph = entry(&name, &content);
            graph["external_data"] = json!([entry(&data_name, &data)]);
            files.extend([(name, content), (data_name, data)]);
        }
        files.push((MANIFEST_NAME.into(), manifest.to_string().into_bytes()));
        files
    }

    /// With external data too, which ONNX Runtime may use in place after loading.
    #[test]
    fn a_model_in_memory_generates_what_one_in_files_does() {
        let (files, place) = (files(), tempfile::tempdir().unwrap());
        fs::create_dir(place.path().join("cpu-int8")).unwrap();
        for (name, content) in &files {
            fs::write(place.path().join(name), content).unwrap();
        }
        let generated = |model: &Model| {
            let mut session = model.session().unwrap();
            session.append("the cat sat. ").unwrap();
            let sentences = session.generate(Default::default()).take(3);
            sentences
                .map(|sentence| sentence.unwrap().token_ids)
                .collect::<Vec<_>>()
        };
        let original =
            Model::load(BUNDLE, LoadOptions::default().with_variant("cpu-int8")).unwrap();
        let expected = generated(&original);
        let options = || LoadOptions::default().with_parallel_runs(2).unwrap();
        let on_disk = Model::load(place.path(), options()).unwrap();
        let in_memory = Model::from_bundle(Bundle::from_memory(files).unwrap(), options()).unwrap();
        drop(place);
        assert!(expected.iter().any(|ids| ids.len() > 1));
        assert_eq!(generated(&on_disk), expected);
        assert_eq!(generated(&in_memory), expected);
        assert_eq!(in_memory.matmul_kernel(), original.matmul_kernel());
    }
}
