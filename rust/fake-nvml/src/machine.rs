//! The machine that the library speaks of, as a JSON file has it.
//!
//! What a device leaves out, it answers with "not supported", as products and drivers do, or with a code of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

/// Most slices of a GPU; their handles follow that of the GPU.
pub const PLACES: usize = 15;

/// A machine with GPUs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Version of the driver.
    #[serde(default)]
    pub driver: String,
    /// In PCI bus order.
    pub devices: Vec<Device>,
}

/// A GPU, or a slice of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// `GPU-...` or `MIG-...`.
    pub uuid: String,
    /// The product.
    pub name: String,
    /// NVML's code for what is left out, 3 ("not supported") if there is none.
    pub unsaid: Option<i32>,
    /// It has fallen off the bus.
    pub lost: bool,
    /// How many times its use can be asked for before it falls off the bus.
    pub lost_after: Option<u32>,
    /// Bytes in all, and in use.
    pub memory: Option<(u64, u64)>,
    /// Major and minor number.
    pub compute_capability: Option<(i32, i32)>,
    /// As NVML counts the modes.
    pub compute_mode: Option<u32>,
    /// Since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// Rows of memory that were replaced for errors that could be corrected and for others, whether more wait for a
    /// reset, and whether one could not be replaced.
    pub remapped_rows: Option<(u32, u32, bool, bool)>,
    /// NVML's bits, by the newer call.
    pub clock_events: Option<u64>,
    /// The same by the older call.
    pub throttle_reasons: Option<u64>,
    /// What computes on it: a process id, null for the process that asks, and bytes.
    pub processes: Option<Vec<(Option<u32>, Option<u64>)>>,
    /// The CPUs near it.
    pub cpus: Option<Vec<u32>>,
    /// Percent.
    pub utilization: Option<u32>,
    /// Milliwatts.
    pub power_mw: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Megahertz of the multiprocessors, and of the memory.
    pub clocks: Option<(u32, u32)>,
    /// The slices of a GPU that is cut, in their places; null for a place without one.
    pub slices: Option<Vec<Option<Device>>>,
    /// Of a slice.
    pub gpu_instance: Option<u32>,
    /// Of a slice.
    pub compute_instance: Option<u32>,
    #[serde(skip)]
    asked: AtomicU32,
}

impl Machine {
    /// The device of a handle.
    pub fn device(&self, handle: usize) -> Option<&Device> {
        let (index, place) = (handle.checked_sub(1)? / (PLACES + 1), (handle - 1) % (PLACES + 1));
        let device = self.devices.get(index)?;
        match place {
            0 => Some(device),
            place => device.slices.as_ref()?.get(place - 1)?.as_ref(),
        }
    }

    /// The handle of a GPU, None if there is none of this index.
    pub fn handle(&self, index: usize) -> Option<usize> {
        (index < self.devices.len()).then_some(index * (PLACES + 1) + 1)
    }
}

impl Device {
    /// Whether it is on the bus when its use is asked for once more.
    pub fn still_there(&self) -> bool {
        self.lost_after.is_none_or(|most| self.asked.fetch_add(1, Ordering::Relaxed) < most)
    }
}
