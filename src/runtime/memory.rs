//! The memory in which a graph wants its caches.

use std::{borrow::Cow, ffi::CStr, ptr};

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
    /// Whether the processor reads and writes it.
    is_host: bool,
}

impl Memory {
    /// The memory of the processor.
    pub fn host() -> Self {
        Self {
            device: AllocationDevice::CPU,
            id: 0,
            is_host: true,
        }
    }

    /// As if the processor could not read its memory.
    #[cfg(test)]
    pub fn unreadable() -> Self {
        Self {
            is_host: false,
            ..Self::host()
        }
    }

    /// Where the nodes that take this input read it, so that nothing is copied when a tensor of this
    /// memory is bound to it; that of the processor if there is no such input.
    pub fn of_input(session: &Session, input: &str) -> ort::Result<Self> {
        let mut inputs = session.inputs().iter();
        let Some(number) = inputs.position(|found| found.name() == input) else {
            return Ok(Self::host());
        };
        let mut found = vec![ptr::null(); session.inputs().len()];
        let api = ort::api();
        // SAFETY: the session is alive, and `found` has a place for each of its inputs.
        unsafe {
            check((api.SessionGetMemoryInfoForInputs)(
                session.ptr(),
                found.as_mut_ptr(),
                found.len(),
            ))?;
        }
        let info = found[number];
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
            is_host: false,
        };
        memory.is_host = memory.info()?.is_cpu_accessible();
        Ok(memory)
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

    /// What makes tensors in it, of this session's provider.
    pub fn allocator(&self, session: &Session) -> ort::Result<Allocator> {
        match self.is_host {
            true => Ok(Allocator::default()),
            false => Allocator::new(session, self.info()?),
        }
    }

    /// A tensor of the processor's memory, put into this one.
    pub fn put(&self, allocator: &Allocator, tensor: DynTensor) -> ort::Result<DynTensor> {
        if self.is_host {
            return Ok(tensor);
        }
        let shape = tensor.shape().clone();
        let mut there = DynTensor::new(allocator, *tensor.data_type(), shape)?;
        tensor.copy_into(&mut there)?;
        Ok(there)
    }

    /// A tensor of this memory as the processor can read it.
    pub fn read<'t>(&self, tensor: &'t DynTensor) -> ort::Result<Cow<'t, DynTensor>> {
        match self.is_host {
            true => Ok(Cow::Borrowed(tensor)),
            false => Ok(Cow::Owned(tensor.to(AllocationDevice::CPU, 0)?)),
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
