//! What the virtual GPU counts of each launch, and which lines of its kernels ran.
//!
//! What the counts mean is in the documentation of `gamut_vgpu::count`.

use super::compiler::source_line;
use super::{Cuda, Driver, driver};
use crate::Device;
use crate::counted::ratio;
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

/// Bytes of a sector of global memory.
const SECTOR: u64 = 32;

/// Counting on the virtual GPUs of this process, which goes on until this is dropped: there should
/// be one at a time.
#[derive(Debug)]
pub struct Counting {
    cuda: Arc<Cuda>,
}

/// The counters of a launch.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// The kernel's name.
    pub kernel: String,
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub dynamic_shared: u32,
    /// PTX instructions by class, such as `float` or `global_load`.
    pub instructions: BTreeMap<String, Executed>,
    /// Operations of matrix products by the operands' type, such as `bf16`; a multiply-add is two.
    pub matrix_operations: BTreeMap<String, u64>,
    /// Arrivals of warps at barriers of their block.
    pub barriers: u64,
    /// Loads from global memory.
    pub loads: Requests,
    /// Stores to global memory.
    pub stores: Requests,
    /// Atomics on global memory.
    pub atomics: Requests,
    /// The global memory that was touched at all.
    pub footprint: Footprint,
    /// Accesses to shared memory.
    pub shared: Wavefronts,
    /// By line of PTX, for the lines that ran.
    pub lines: Vec<Line>,
}

impl Counters {
    /// All requests to global memory.
    pub fn global(&self) -> Requests {
        let mut all = self.loads;
        all += self.stores;
        all += self.atomics;
        all
    }
}

/// How often instructions ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Executed {
    /// Once for each warp.
    pub warps: u64,
    /// Once for each active lane.
    pub lanes: u64,
}

/// Requests to global memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Requests {
    /// Warp instructions with at least one active lane.
    pub requests: u64,
    /// Bytes that active lanes asked for.
    pub bytes: u64,
    /// The same, counting a byte that several lanes of a request asked for once.
    pub distinct_bytes: u64,
    /// Sectors of 32 bytes.
    pub sectors: u64,
    /// The fewest sectors that hold each request's distinct bytes.
    pub min_sectors: u64,
}

impl Requests {
    /// Bytes that move between the multiprocessors and the cache that they share.
    pub fn moved(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Sectors for each that is needed at least.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.sectors, self.min_sectors)
    }
}

/// Sectors of 32 bytes that a launch touched, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Footprint {
    /// By loads or atomics.
    pub read_sectors: u64,
    /// By stores or atomics.
    pub written_sectors: u64,
}

impl Footprint {
    /// Bytes that move to and from memory if the cache forgets nothing during a launch.
    pub fn moved(&self) -> u64 {
        (self.read_sectors + self.written_sectors) * SECTOR
    }
}

/// Requests to shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Wavefronts {
    /// Warp instructions with at least one active lane.
    pub requests: u64,
    /// Bytes that active lanes asked for.
    pub bytes: u64,
    /// Passes over the banks.
    pub wavefronts: u64,
    /// The passes that accesses without a conflict would take.
    pub min_wavefronts: u64,
}

impl Wavefronts {
    /// Passes for each that is needed at least.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.wavefronts, self.min_wavefronts)
    }
}

macro_rules! sums {
    ($($T:ty: $($field:ident),*;)*) => {$(
        impl AddAssign for $T {
            fn add_assign(&mut self, other: $T) {
                $(self.$field += other.$field;)*
            }
        }
    )*};
}

sums! {
    Executed: warps, lanes;
    Requests: requests, bytes, distinct_bytes, sectors, min_sectors;
    Footprint: read_sectors, written_sectors;
    Wavefronts: requests, bytes, wavefronts, min_wavefronts;
}

/// The counts of a line of PTX.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// Line of the PTX text, from 1.
    pub ptx_line: u32,
    /// The line itself.
    pub text: String,
    /// The CUDA source line.
    pub source: Option<SourceLine>,
    /// How often it ran.
    pub executed: Executed,
    /// Its requests to global memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub global: Requests,
    /// Its requests to shared memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: Wavefronts,
}

/// Whether nothing was counted.
fn is_default<T: Default + PartialEq>(counts: &T) -> bool {
    *counts == T::default()
}

/// A line of an operation's CUDA source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub struct SourceLine {
    /// The file's name.
    #[serde(deserialize_with = "file_name")]
    pub file: String,
    /// Line from 1.
    pub line: u32,
}

impl SourceLine {
    /// The line itself, trimmed; none for files that are not ours.
    pub fn text(&self) -> Option<&'static str> {
        source_line(&self.file, self.line)
    }
}

/// The compiler puts the directory that it ran in before names.
fn file_name<'a, D: Deserializer<'a>>(deserializer: D) -> std::result::Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    Ok(path.rsplit('/').next().unwrap_or_default().to_owned())
}

/// The lines of a kernel that is loaded.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KernelCoverage {
    /// The kernel's name. One that was compiled with several sets of macros comes as often.
    pub kernel: String,
    /// Launches that were counted.
    pub launches: u64,
    /// The lines that have instructions.
    pub lines: Vec<CoveredLine>,
}

/// A line of PTX that has instructions.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CoveredLine {
    /// Line of the PTX text, from 1.
    pub ptx_line: u32,
    /// The line itself.
    pub text: String,
    /// The CUDA source line.
    pub source: Option<SourceLine>,
    /// How many lanes ran it.
    pub lanes: u64,
}

impl Counting {
    /// Counts from now on.
    ///
    /// # Errors
    /// [`Error::NoDevice`] unless the device is the virtual GPU.
    pub fn start(device: &Device) -> Result<Counting> {
        let Device::Cuda(cuda) = device else {
            return Err(refused(device.name()));
        };
        if cuda.driver() != Driver::Virtual {
            return Err(refused(device.name()));
        }
        cuda.synchronize()?;
        set(true)?;
        let cuda = Arc::clone(cuda);
        Ok(Counting { cuda })
    }

    /// Waits for all work, and gives the launches since the last call.
    ///
    /// # Errors
    /// If some of the work failed.
    pub fn take(&self) -> Result<Vec<Counters>> {
        self.cuda.synchronize()?;
        parse(b"gamutVgpuTakeCounters\0")
    }

    /// Waits for all work, and gives the coverage of all kernels that are loaded since the last
    /// call.
    ///
    /// # Errors
    /// If some of the work failed.
    pub fn take_coverage(&self) -> Result<Vec<KernelCoverage>> {
        self.cuda.synchronize()?;
        parse(b"gamutVgpuTakeCoverage\0")
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It was there when counting started.
        let _ = set(false);
    }
}

fn refused(device: &'static str) -> Error {
    let reason = "counts nothing: counters and coverage need --device virtual".to_owned();
    Error::NoDevice { device, reason }
}

fn set(on: bool) -> Result<()> {
    driver::switch(b"gamutVgpuCount\0", on, "counting on the virtual GPU")
}

fn parse<T: DeserializeOwned>(symbol: &[u8]) -> Result<T> {
    driver::json(symbol, "asking the virtual GPU for counters")
}
