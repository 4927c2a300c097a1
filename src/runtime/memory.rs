//! The memory in which a graph reads its inputs: the processor's or a device's.

use std::{borrow::Cow, ffi::CStr, ops::Deref, ptr};

use ort::{
    AsPointer,
    memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType},
    session::Session,
    value::DynTensor,
};

use super::status::check;

/// The memory of the processor, or that of the device that runs a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    device: AllocationDevice<'static>,
    id: i32,
    access: Access,
}

/// What can be done with tensors in a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// The processor reads and writes them.
    Direct,
    /// They can be copied from and to the processor's memory.
    Copied,
    /// Nothing is known. Of devices' memories only CUDA's is known to be the same for all sessions.
    Unknown,
}

impl Memory {
    fn new(device: AllocationDevice<'static>, id: i32) -> Self {
        let access = match &device {
            device if *device == AllocationDevice::CPU => Access::Direct,
            device if *device == AllocationDevice::CUDA => Access::Copied,
            _ => Access::Unknown,
        };
        Self { device, id, access }
    }

    /// The memory of the processor.
    pub fn host() -> Self {
        Self::new(AllocationDevice::CPU, 0)
    }

    /// As if the processor could not read its memory.
    #[cfg(test)]
    pub fn unreadable() -> Self {
        Self {
            access: Access::Copied,
            ..Self::host()
        }
    }

    /// The memory in which each input of a session is read. A tensor in this memory is not copied
    /// when it is bound to the input.
    pub fn of_inputs(session: &Session) -> ort::Result<Vec<Self>> {
        let mut infos = vec![ptr::null(); session.inputs().len()];
        let api = ort::api();
        // SAFETY: the session is alive, and `infos` has a place for each of its inputs.
        unsafe {
            check((api.SessionGetMemoryInfoForInputs)(
                session.ptr(),
                infos.as_mut_ptr(),
                infos.len(),
            ))?;
        }
        let memory = |info| {
            let (mut name, mut id) = (ptr::null(), 0);
            // SAFETY: `info` belongs to the session, and both places are valid for writing.
            unsafe {
                check((api.MemoryInfoGetName)(info, &mut name))?;
                check((api.MemoryInfoGetId)(info, &mut id))?;
            }
            if name.is_null() {
                return Err(ort::Error::new("the memory of an input has no name"));
            }
            // SAFETY: it is not null, ends with 0, and belongs to the session.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            Ok(Self::new(AllocationDevice::new(&name), id))
        };
        infos.into_iter().map(memory).collect()
    }

    /// Its name in ONNX Runtime.
    pub fn name(&self) -> &str {
        self.device.as_str()
    }

    /// Whether tensors can be made and filled in it.
    pub fn is_usable(&self) -> bool {
        self.access != Access::Unknown
    }

    /// The handle with which ONNX Runtime knows it.
    pub fn info(&self) -> ort::Result<MemoryInfo<'static>> {
        MemoryInfo::new(
            self.device.clone(),
            self.id,
            AllocatorType::Device,
            MemoryType::Default,
        )
    }

    /// An allocator of tensors in it. That of a device belongs to a session.
    pub fn allocator<S: Deref<Target = Session>>(
        &self,
        session: impl FnOnce() -> S,
    ) -> ort::Result<Allocator> {
        match self.access {
            Access::Direct => Ok(Allocator::default()),
            _ => Allocator::new(&session(), self.info()?),
        }
    }

    /// A copy in this memory of a tensor that is in the processor's.
    pub fn put(&self, allocator: &Allocator, tensor: DynTensor) -> ort::Result<DynTensor> {
        if self.access == Access::Direct {
            return Ok(tensor);
        }
        let shape = tensor.shape().clone();
        let has_numbers = shape.iter().all(|&size| size > 0);
        let mut there = DynTensor::new(allocator, *tensor.data_type(), shape)?;
        if has_numbers {
            tensor.copy_into(&mut there)?;
        }
        Ok(there)
    }

    /// A tensor that is in this memory, as the processor can read it.
    pub fn read<'t>(&self, tensor: &'t DynTensor) -> ort::Result<Cow<'t, DynTensor>> {
        match self.access {
            Access::Direct => Ok(Cow::Borrowed(tensor)),
            _ => Ok(Cow::Owned(tensor.to(AllocationDevice::CPU, 0)?)),
        }
    }
}

/// Where results are that the processor reads.
pub(crate) fn output_memory() -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(
        AllocationDevice::CPU,
        0,
        AllocatorType::Device,
        MemoryType::CPUOutput,
    )
}
