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
#[derive(Clone, Debug)]
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
    /// The memory of the processor.
    pub fn host() -> Self {
        Self {
            device: AllocationDevice::CPU,
            id: 0,
            access: Access::Direct,
        }
    }

    /// As if the processor could not read its memory.
    #[cfg(test)]
    pub fn unreadable() -> Self {
        Self {
            access: Access::Copied,
            ..Self::host()
        }
    }

    /// Where the nodes that take them read the inputs of a session, in the order of its inputs: a
    /// tensor that is bound to an input from the input's own memory is not copied.
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
            let mut memory = Self {
                device: AllocationDevice::new(&name),
                id,
                access: Access::Unknown,
            };
            if memory.info()?.is_cpu_accessible() {
                memory.access = Access::Direct;
            } else if memory.device == AllocationDevice::CUDA {
                memory.access = Access::Copied;
            }
            Ok(memory)
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

    /// What ONNX Runtime calls it.
    pub fn info(&self) -> ort::Result<MemoryInfo<'static>> {
        MemoryInfo::new(
            self.device.clone(),
            self.id,
            AllocatorType::Device,
            MemoryType::Default,
        )
    }

    /// What makes tensors in it, of the provider of a session, which is asked for if it is needed.
    pub fn allocator<S: Deref<Target = Session>>(
        &self,
        session: impl FnOnce() -> S,
    ) -> ort::Result<Allocator> {
        match self.access {
            Access::Direct => Ok(Allocator::default()),
            _ => Allocator::new(&session(), self.info()?),
        }
    }

    /// A tensor of the processor's memory, put into this one.
    pub fn put(&self, allocator: &Allocator, tensor: DynTensor) -> ort::Result<DynTensor> {
        if self.access == Access::Direct {
            return Ok(tensor);
        }
        let shape = tensor.shape().clone();
        let mut there = DynTensor::new(allocator, *tensor.data_type(), shape)?;
        tensor.copy_into(&mut there)?;
        Ok(there)
    }

    /// A tensor of this memory as the processor can read it.
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
