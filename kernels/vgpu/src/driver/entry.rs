//! The way into the driver that every exported function takes.

use super::code::Code;
use super::{DRIVER, Driver};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether this thread is inside a function that the driver called.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of an exported function on the driver.
///
/// No panic leaves it. Before `cuInit` everything is [`Code::NotInitialized`], and from within a
/// callback everything is [`Code::NotPermitted`], since it could wait for itself.
pub(super) fn enter(body: impl FnOnce(&'static Driver) -> Result<(), Code>) -> Code {
    guard(|| body(DRIVER.get().ok_or(Code::NotInitialized)?))
}

/// As [`enter`], for what needs no driver.
pub(super) fn guard(body: impl FnOnce() -> Result<(), Code>) -> Code {
    if IN_CALLBACK.get() {
        return Code::NotPermitted;
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Code::Success,
        Ok(Err(code)) => code,
        Err(_) => Code::Unknown,
    }
}

/// Calls back into the program, which must not call the driver meanwhile.
pub(super) fn call_back(function: impl FnOnce()) {
    IN_CALLBACK.set(true);
    function();
    IN_CALLBACK.set(false);
}

/// Exports functions that are [`Code::NotSupported`] whatever they are called with.
///
/// They take no arguments: in the C calling convention it is the caller who removes them.
macro_rules! refuse {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> Code {
                enter(|_| Err(Code::NotSupported))
            }
        )*
    };
}
pub(super) use refuse;
