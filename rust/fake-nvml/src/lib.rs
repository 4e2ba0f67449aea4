//! A stand-in for NVIDIA's management library, `libnvidia-ml.so.1`, on machines without a GPU.
//!
//! It is loaded by the dynamic linker in that library's place and answers from the JSON file that the environment
//! variable `FAKE_NVML` names ([`machine`]). So everything above it is what runs beside a real driver. It has the calls
//! that batch-score makes, no others.
#![allow(unsafe_code, reason = "the calls of a C library take pointers")]
#![allow(non_snake_case, reason = "the names are NVIDIA's")]
#![allow(missing_docs, clippy::missing_safety_doc, reason = "NVIDIA documents its calls")]

mod machine;

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_ulonglong};
use std::sync::OnceLock;

use machine::{Device, Machine, PLACES};

const SUCCESS: c_int = 0;
const INVALID_ARGUMENT: c_int = 2;
const NOT_SUPPORTED: c_int = 3;
const NOT_FOUND: c_int = 6;
const INSUFFICIENT_SIZE: c_int = 7;
const DRIVER_NOT_LOADED: c_int = 9;
const FUNCTION_NOT_FOUND: c_int = 13;
const GPU_IS_LOST: c_int = 15;

/// What the caller holds in place of a device.
type Handle = usize;

static MACHINE: OnceLock<Option<Machine>> = OnceLock::new();

fn machine() -> Option<&'static Machine> {
    MACHINE.get_or_init(read).as_ref()
}

/// A file that is not as it should be ends the test's process: an answer of any kind could be taken for a driver's.
fn read() -> Option<Machine> {
    let path = std::env::var_os("FAKE_NVML")?;
    let text = std::fs::read(&path).unwrap_or_else(|error| give_up(&format!("{}: {error}", path.display())));
    Some(
        serde_json::from_slice(&text)
            .unwrap_or_else(|error| give_up(&format!("{}: {error}", path.display()))),
    )
}

#[allow(clippy::print_stderr, reason = "there is nobody to give the error to")]
fn give_up(reason: &str) -> ! {
    eprintln!("fake-nvml: {reason}");
    std::process::exit(70)
}

fn device(handle: Handle) -> Result<&'static Device, c_int> {
    let found = machine().and_then(|machine| machine.device(handle)).ok_or(INVALID_ARGUMENT)?;
    if found.lost { Err(GPU_IS_LOST) } else { Ok(found) }
}

/// What a device says, or the code with which it answers.
fn said<T>(handle: Handle, read: impl FnOnce(&'static Device) -> Option<T>) -> Result<T, c_int> {
    let device = device(handle)?;
    read(device).ok_or(device.unsaid.unwrap_or(NOT_SUPPORTED))
}

/// Puts what a device says into the caller's memory.
unsafe fn tell<T>(handle: Handle, place: *mut T, read: impl FnOnce(&'static Device) -> Option<T>) -> c_int {
    match said(handle, read) {
        Err(code) => code,
        Ok(value) => {
            // SAFETY: the caller gives the address of a variable of this type.
            unsafe { place.write(value) };
            SUCCESS
        }
    }
}

/// Copies a text with its zero byte.
unsafe fn copy(text: &str, place: *mut c_char, length: c_uint) -> c_int {
    if text.len() >= length as usize {
        return INSUFFICIENT_SIZE;
    }
    // SAFETY: the caller gives `length` bytes, and there is room for the text and a zero.
    unsafe {
        place.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        place.add(text.len()).write(0);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> c_int {
    if machine().is_some() { SUCCESS } else { DRIVER_NOT_LOADED }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_int {
    nvmlInitWithFlags(0)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(code: c_int) -> *const c_char {
    let text = match code {
        GPU_IS_LOST => c"GPU is lost",
        DRIVER_NOT_LOADED => c"Driver Not Loaded",
        _ => c"not so",
    };
    text.as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(text: *mut c_char, length: c_uint) -> c_int {
    // SAFETY: as the caller promises.
    machine().map_or(DRIVER_NOT_LOADED, |machine| unsafe { copy(&machine.driver, text, length) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_int {
    let devices = machine().map_or(0, |machine| machine.devices.len());
    // SAFETY: as the caller promises.
    unsafe { count.write(c_uint::try_from(devices).unwrap_or(c_uint::MAX)) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, place: *mut Handle) -> c_int {
    let Some(handle) = machine().and_then(|machine| machine.handle(index as usize)) else {
        return INVALID_ARGUMENT;
    };
    // SAFETY: as the caller promises.
    unsafe { tell(handle, place, |_| Some(handle)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(handle: Handle, text: *mut c_char, length: c_uint) -> c_int {
    // SAFETY: as the caller promises.
    device(handle).map_or_else(|code| code, |device| unsafe { copy(&device.uuid, text, length) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(handle: Handle, text: *mut c_char, length: c_uint) -> c_int {
    // SAFETY: as the caller promises.
    device(handle).map_or_else(|code| code, |device| unsafe { copy(&device.name, text, length) })
}

/// `nvmlMemory_t`.
#[repr(C)]
pub struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(handle: Handle, place: *mut Memory) -> c_int {
    let memory = |(total, used): (u64, u64)| Memory { total, free: total.saturating_sub(used), used };
    // SAFETY: as the caller promises.
    unsafe { tell(handle, place, |device| device.memory.map(memory)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    handle: Handle,
    major: *mut c_int,
    minor: *mut c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match tell(handle, major, |device| device.compute_capability.map(|(major, _)| major)) {
            SUCCESS => tell(handle, minor, |device| device.compute_capability.map(|(_, minor)| minor)),
            code => code,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    handle: Handle,
    now: *mut c_uint,
    pending: *mut c_uint,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match tell(handle, now, |device| device.slices.as_ref().map(|_| 1)) {
            SUCCESS => tell(handle, pending, |_| Some(1)),
            code => code,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(handle: Handle, count: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        tell(handle, count, |device| device.slices.as_ref().and_then(|_| c_uint::try_from(PLACES).ok()))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    handle: Handle,
    place: c_uint,
    slice: *mut Handle,
) -> c_int {
    let part = handle + 1 + place as usize;
    if place as usize >= PLACES || device(part).is_err() {
        return NOT_FOUND;
    }
    // SAFETY: as the caller promises.
    unsafe { tell(part, slice, |_| Some(part)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGpuInstanceId(handle: Handle, id: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(handle, id, |device| device.gpu_instance) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeInstanceId(handle: Handle, id: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(handle, id, |device| device.compute_instance) }
}

/// Only errors that could not be corrected, since the driver was loaded, are known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    handle: Handle,
    kind: c_uint,
    counter: c_uint,
    count: *mut c_ulonglong,
) -> c_int {
    if (kind, counter) != (1, 0) {
        return INVALID_ARGUMENT;
    }
    // SAFETY: as the caller promises.
    unsafe { tell(handle, count, |device| device.ecc_uncorrected) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    handle: Handle,
    corrected: *mut c_uint,
    uncorrected: *mut c_uint,
    pending: *mut c_uint,
    failed: *mut c_uint,
) -> c_int {
    let read =
        |pick: fn((u32, u32, bool, bool)) -> u32| move |device: &Device| device.remapped_rows.map(pick);
    // SAFETY: as the caller promises.
    unsafe {
        let codes = [
            tell(handle, corrected, read(|rows| rows.0)),
            tell(handle, uncorrected, read(|rows| rows.1)),
            tell(handle, pending, read(|rows| rows.2.into())),
            tell(handle, failed, read(|rows| rows.3.into())),
        ];
        codes.into_iter().max().unwrap_or(SUCCESS)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeMode(handle: Handle, mode: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(handle, mode, |device| device.compute_mode) }
}

/// A device without an answer is one of an older driver, which has only the next call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksEventReasons(
    handle: Handle,
    mask: *mut c_ulonglong,
) -> c_int {
    // SAFETY: as the caller promises.
    match unsafe { tell(handle, mask, |device| device.clock_events) } {
        NOT_SUPPORTED => FUNCTION_NOT_FOUND,
        code => code,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(
    handle: Handle,
    mask: *mut c_ulonglong,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(handle, mask, |device| device.throttle_reasons) }
}

/// `nvmlProcessInfo_t`.
#[repr(C)]
pub struct Process {
    pid: c_uint,
    used: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    handle: Handle,
    count: *mut c_uint,
    place: *mut Process,
) -> c_int {
    let processes = match said(handle, |device| device.processes.as_deref()) {
        Err(code) => return code,
        Ok(processes) => processes,
    };
    // SAFETY: `count` is the caller's, and says for how many processes there is room.
    unsafe {
        let room = count.read() as usize;
        count.write(c_uint::try_from(processes.len()).unwrap_or(c_uint::MAX));
        if room < processes.len() {
            return INSUFFICIENT_SIZE;
        }
        for (number, (pid, used)) in processes.iter().enumerate() {
            let pid = pid.unwrap_or_else(std::process::id);
            let used = used.unwrap_or(c_ulonglong::MAX);
            place.add(number).write(Process { pid, used, gpu_instance: 0, compute_instance: 0 });
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCpuAffinity(
    handle: Handle,
    words: c_uint,
    mask: *mut c_ulong,
) -> c_int {
    let cpus = match said(handle, |device| device.cpus.as_deref()) {
        Err(code) => return code,
        Ok(cpus) => cpus,
    };
    for word in 0..words {
        let bits = cpus.iter().filter(|&&cpu| cpu / 64 == word).fold(0, |bits, cpu| bits | 1 << (cpu % 64));
        // SAFETY: the caller gives `words` words.
        unsafe { mask.add(word as usize).write(bits) };
    }
    SUCCESS
}

/// `nvmlUtilization_t`.
#[repr(C)]
pub struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(handle: Handle, place: *mut Utilization) -> c_int {
    if device(handle).is_ok_and(|device| !device.still_there()) {
        return GPU_IS_LOST;
    }
    // SAFETY: as the caller promises.
    unsafe { tell(handle, place, |device| device.utilization.map(|gpu| Utilization { gpu, memory: 0 })) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(handle: Handle, milliwatts: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(handle, milliwatts, |device| device.power_mw) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(
    handle: Handle,
    _sensor: c_uint,
    degrees: *mut c_uint,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { tell(handle, degrees, |device| device.temperature) }
}

/// Kind 1 is the clock of the multiprocessors, 2 that of the memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(
    handle: Handle,
    kind: c_uint,
    megahertz: *mut c_uint,
) -> c_int {
    let read = |device: &Device| match kind {
        1 => device.clocks.map(|(multiprocessors, _)| multiprocessors),
        2 => device.clocks.map(|(_, memory)| memory),
        _ => None,
    };
    // SAFETY: as the caller promises.
    unsafe { tell(handle, megahertz, read) }
}
