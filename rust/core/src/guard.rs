//! The guard of a worker: a thread that ends the process, and what it has started, when its coordinator is gone.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgrp, getpid, getppid, kill_process, kill_process_group, pidfd_open,
};

const MESSAGE: &[u8] = b"the coordinator is gone; leaving\n";
/// What the process's other threads get to write down the last lines of their logs.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Starts the guard of this process, whose parent is the coordinator; leaves at once if it no longer is.
///
/// Leaving is one line on stderr and SIGKILL: for the whole process group if this process leads it, else for this
/// process alone. The guard needs nothing of the process that another thread could hold.
///
/// # Errors
/// The operating system gives no handle on the coordinator's process, or no thread.
pub fn guard(coordinator: u32) -> io::Result<()> {
    let Some(parent) = i32::try_from(coordinator).ok().and_then(Pid::from_raw) else { leave() };
    let Some(handle) = handle(parent)? else { leave() };
    let watch = move || {
        wait(&handle, parent);
        leave()
    };
    thread::Builder::new().name("guard".into()).spawn(watch)?;
    Ok(())
}

/// A handle on the parent; None if it is another process by now.
fn handle(parent: Pid) -> io::Result<Option<OwnedFd>> {
    match pidfd_open(parent, PidfdFlags::empty()) {
        // Asked in this order: the number of a living parent belongs to nobody else.
        Ok(handle) => Ok((getppid() == Some(parent)).then_some(handle)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns a moment after the parent's end.
fn wait(handle: &OwnedFd, parent: Pid) {
    while getppid() == Some(parent) {
        // The parent's number decides and the handle only wakes: a script that closes every descriptor closes it too.
        if poll(&mut [PollFd::new(handle, PollFlags::IN)], None) != Err(Errno::INTR) {
            thread::sleep(LAST_WORDS);
        }
    }
}

fn leave() -> ! {
    say();
    let this = getpid();
    let kill = if getpgrp() == this { kill_process_group } else { kill_process };
    let _ = kill(this, Signal::KILL);
    process::abort() // not reached: nothing can refuse SIGKILL from itself
}

/// Writes the message, unless stderr has become a pipe that nobody empties.
fn say() {
    let mut stderr = io::stderr();
    if poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&Timespec::default())) == Ok(1) {
        let _ = stderr.write_all(MESSAGE);
    }
}
