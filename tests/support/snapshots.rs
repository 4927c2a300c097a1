//! Snapshots that are whole and were changed.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::sha256_of;

/// A snapshot with its tensors and one text of its metadata changed, and with the checksum of that.
/// A tensor whose bytes no longer fit its shape is left out.
pub fn changed(
    snapshot: &[u8],
    edit: &dyn Fn(&str, Dtype, &mut Vec<u8>),
    text: (&str, &str),
) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(snapshot).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    let mut tensors = Vec::new();
    for (name, tensor) in SafeTensors::deserialize(snapshot).unwrap().tensors() {
        let mut data = tensor.data().to_vec();
        edit(&name, tensor.dtype(), &mut data);
        if TensorView::new(tensor.dtype(), tensor.shape().to_vec(), &data).is_ok() {
            tensors.push((name, tensor.dtype(), tensor.shape().to_vec(), data));
        }
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hashed = Vec::new();
    for (name, _, _, data) in &tensors {
        hashed.extend_from_slice(name.as_bytes());
        hashed.extend_from_slice(&(data.len() as u64).to_le_bytes());
        hashed.extend_from_slice(data);
    }
    for value in metadata.values_mut() {
        *value = value.replace(text.0, text.1);
        let at = value.find("\"sha256\":\"").unwrap() + 10;
        value.replace_range(at..at + 64, &sha256_of(&hashed));
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// The snapshot with this number in place of every one of its 32-bit floating-point numbers.
pub fn filled(snapshot: &[u8], number: f32) -> Vec<u8> {
    let fill = |_: &str, dtype, data: &mut Vec<u8>| {
        if dtype == Dtype::F32 {
            *data = number.to_le_bytes().repeat(data.len() / 4);
        }
    };
    changed(snapshot, &fill, ("", ""))
}
