//! What cuBLASLt reaches on the shapes that the models have: a ceiling for our own products.
#![allow(unsafe_code)]

use crate::driver::{Argument, Buffer, Device, Launch, Module, Stream, median, preload, time};
use crate::error::{Error, Result};
use crate::report::Report;
use cudarc::cublaslt::result;
use cudarc::cublaslt::sys::{self, cublasComputeType_t, cublasStatus_t, cudaDataType};
use serde_json::{Value, json};
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, ptr};

const WORKSPACE: usize = 32 << 20;
const ALGORITHMS: usize = 8;

/// Weights are rotated through this many bytes, four times an H100's L2.
const ROTATED: usize = 200 << 20;

/// M, K and N of `y [M, N] = x [M, K] w [N, K]^T`.
type Sizes = (usize, usize, usize);

const PREFILL: [(&str, Sizes); 13] = [
    ("experts", (15000, 1280, 3840)),
    ("experts", (15000, 1280, 1280)),
    ("experts", (15000, 1280, 5120)),
    ("experts", (15000, 5120, 1280)),
    ("fusion", (7500, 2560, 1280)),
    ("fusion", (7500, 1280, 5120)),
    ("projector", (7500, 1280, 4096)),
    ("projector", (7500, 4096, 4096)),
    ("decoder", (7600, 4096, 6144)),
    ("decoder", (7600, 4096, 4096)),
    ("decoder", (7600, 4096, 24576)),
    ("decoder", (7600, 12288, 4096)),
    ("square", (8192, 8192, 8192)),
];

/// K and N of the products of one decoding step.
const DECODE: [(usize, usize); 5] = [
    (4096, 6144),
    (4096, 4096),
    (4096, 24576),
    (12288, 4096),
    (4096, 151_936),
];

pub(crate) fn run(modules: &Path, report: &mut Report) -> Result<()> {
    let _device = Device::open()?;
    let library = find_library();
    report.add(
        "library",
        Ok(json!(library.as_ref().map(|p| p.display().to_string()))),
    )?;
    if let Some(path) = library {
        preload(&path)?;
    }
    // SAFETY: it only tries to load the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Text("libcublasLt is not on this machine".into()));
    }
    // SAFETY: the function has no arguments.
    report.add("version", Ok(json!(unsafe { sys::cublasLtGetVersion() })))?;
    let bench = Bench::new(&Module::open(modules, "measure")?)?;
    let decode = [1, 16, 32]
        .into_iter()
        .flat_map(|m| DECODE.map(|(k, n)| ("decode", (m, k, n))));
    for (name, sizes) in PREFILL.into_iter().chain(decode) {
        let (m, k, n) = sizes;
        report.add(&format!("{name} {m} x {k} x {n}"), bench.measure(sizes))?;
    }
    Ok(())
}

/// libcublasLt.so.13 in the library path, the toolkit, or beside PyTorch.
fn find_library() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("LD_LIBRARY_PATH")
        .iter()
        .flat_map(env::split_paths)
        .collect();
    folders.extend(
        [
            "/usr/local/cuda/lib64",
            "/usr/local/cuda/targets/x86_64-linux/lib",
        ]
        .map(PathBuf::from),
    );
    let python = Command::new("python3")
        .args(["-c", "import sys; print('\\n'.join(sys.path))"])
        .output();
    let printed = python.map(|output| output.stdout).unwrap_or_default();
    for line in String::from_utf8_lossy(&printed)
        .lines()
        .filter(|line| !line.is_empty())
    {
        folders.extend(["nvidia/cu13/lib", "nvidia/cublas/lib"].map(|f| Path::new(line).join(f)));
    }
    folders
        .into_iter()
        .map(|f| f.join("libcublasLt.so.13"))
        .find(|path| path.is_file())
}

/// The handle and memory that all shapes share.
struct Bench {
    handle: sys::cublasLtHandle_t,
    stream: Stream,
    x: Buffer,
    w: Buffer,
    y: Buffer,
    workspace: Buffer,
}

/// A product's description, its layouts and the heuristic's choices.
struct Plan {
    product: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    algorithms: Vec<sys::cublasLtMatmulHeuristicResult_t>,
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: all four were created with the plan and are not used after it. A failure to
        // free them would only leak.
        unsafe {
            let _ = result::destroy_matmul_desc(self.product);
            for layout in [self.w, self.x, self.y] {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

fn blas<T>(call: &'static str, result: std::result::Result<T, result::CublasError>) -> Result<T> {
    result.map_err(|error| Error::Blas {
        call,
        status: format!("{error:?}"),
    })
}

impl Bench {
    fn new(module: &Module) -> Result<Bench> {
        let bench = Bench {
            handle: blas("cublasLtCreate", result::create_handle())?,
            stream: Stream::new()?,
            x: Buffer::new(256 << 20)?,
            w: Buffer::new(1280 << 20)?,
            y: Buffer::new(512 << 20)?,
            workspace: Buffer::new(WORKSPACE)?,
        };
        let fill = module.function("fill_normal")?;
        for (buffer, seed, deviation) in [(&bench.x, 1, 1.0), (&bench.w, 2, 0.02)] {
            let arguments = [
                buffer.into(),
                Argument::Wide(buffer.bytes as u64 / 2),
                Argument::Word(seed),
                Argument::Float(deviation),
            ];
            fill.launch(Launch::new(4096, 256), &bench.stream, &arguments)?;
        }
        bench.stream.synchronize()?;
        Ok(bench)
    }

    /// In cuBLAS's column-major terms the transposed product: y^T = (w^T)^T x^T.
    fn plan(&self, (m, k, n): Sizes) -> Result<Plan> {
        let layout = |rows: usize, columns: usize| {
            let made = result::create_matrix_layout(
                cudaDataType::CUDA_R_16BF,
                rows as u64,
                columns as u64,
                rows as i64,
            );
            blas("cublasLtMatrixLayoutCreate", made)
        };
        let product = result::create_matmul_desc(
            cublasComputeType_t::CUBLAS_COMPUTE_32F,
            cudaDataType::CUDA_R_32F,
        );
        let mut plan = Plan {
            product: blas("cublasLtMatmulDescCreate", product)?,
            w: layout(k, n)?,
            x: layout(k, m)?,
            y: layout(n, m)?,
            algorithms: Vec::new(),
        };
        let transposed: i32 = 1;
        // SAFETY: the attribute is a 32-bit cublasOperation_t, of which 1 is the transpose.
        let set = unsafe {
            result::set_matmul_desc_attribute(
                plan.product,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                ptr::from_ref(&transposed).cast(),
                size_of::<i32>(),
            )
        };
        blas("cublasLtMatmulDescSetAttribute", set)?;
        plan.algorithms = self.heuristic(&plan)?;
        Ok(plan)
    }

    fn heuristic(&self, plan: &Plan) -> Result<Vec<sys::cublasLtMatmulHeuristicResult_t>> {
        let preference = blas(
            "cublasLtMatmulPreferenceCreate",
            result::create_matmul_pref(),
        )?;
        // SAFETY: the structure is plain data, of which cuBLASLt fills the first `count`; all
        // handles are alive, and the preference is destroyed after its last use.
        let (found, choices, count) = unsafe {
            let set = result::set_matmul_pref_attribute(
                preference,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                ptr::from_ref(&WORKSPACE).cast(),
                size_of::<usize>(),
            );
            let mut choices: [sys::cublasLtMatmulHeuristicResult_t; ALGORITHMS] =
                std::mem::zeroed();
            let mut count = 0;
            let found = set.and_then(|()| {
                sys::cublasLtMatmulAlgoGetHeuristic(
                    self.handle,
                    plan.product,
                    plan.w,
                    plan.x,
                    plan.y,
                    plan.y,
                    preference,
                    ALGORITHMS as i32,
                    choices.as_mut_ptr(),
                    &mut count,
                )
                .result()
            });
            let destroyed = result::destroy_matmul_pref(preference);
            (found.and(destroyed), choices, count as usize)
        };
        blas("cublasLtMatmulAlgoGetHeuristic", found)?;
        let good = |choice: &sys::cublasLtMatmulHeuristicResult_t| {
            choice.state == cublasStatus_t::CUBLAS_STATUS_SUCCESS
        };
        Ok(choices.into_iter().take(count).filter(good).collect())
    }

    fn measure(&self, sizes: Sizes) -> Result<Value> {
        let (m, k, n) = sizes;
        let plan = self.plan(sizes)?;
        let weight = 2 * k * n;
        let copies = if m <= 32 {
            (ROTATED / weight).max(1)
        } else {
            1
        };
        let flops = 2.0 * (m * k * n) as f64;
        let bytes = 2.0 * (m * k + k * n + m * n) as f64;
        let expected = (flops / 6e14).max(bytes / 3e12);
        let batch = ((3e-3 / expected) as usize).clamp(1, 50);
        let mut tried = Vec::new();
        for choice in &plan.algorithms {
            let mut next = 0;
            let mut queue = |_| {
                (0..batch).try_for_each(|_| {
                    next = (next + 1) % copies;
                    self.multiply(&plan, choice, (next * weight) as u64)
                })
            };
            // An algorithm may still refuse to run; the others count.
            let measured =
                time(&self.stream, 1, &mut queue).and_then(|_| time(&self.stream, 5, &mut queue));
            if let Ok(times) = measured {
                tried.push(f64::from(median(&times)) * 1e3 / batch as f64);
            }
        }
        let best = tried.iter().copied().fold(f64::INFINITY, f64::min);
        if best.is_infinite() {
            return Err(Error::Text("no algorithm ran".into()));
        }
        Ok(json!({
            "us": best,
            "TFLOP/s": flops / best / 1e6,
            "TB/s": bytes / best / 1e6,
            "first choice us": tried.first(),
            "tried us": tried,
        }))
    }

    fn multiply(
        &self,
        plan: &Plan,
        choice: &sys::cublasLtMatmulHeuristicResult_t,
        offset: u64,
    ) -> Result<()> {
        let (one, zero) = (1f32, 0f32);
        let pointer = |address: u64| address as *mut c_void;
        // SAFETY: all handles are alive; the buffers hold the largest of the shapes, and the
        // rotated weights end within theirs.
        let multiplied = unsafe {
            result::matmul(
                self.handle,
                plan.product,
                ptr::from_ref(&one).cast(),
                ptr::from_ref(&zero).cast(),
                pointer(self.w.pointer + offset),
                plan.w,
                pointer(self.x.pointer),
                plan.x,
                pointer(self.y.pointer),
                plan.y,
                pointer(self.y.pointer),
                plan.y,
                &choice.algo,
                pointer(self.workspace.pointer),
                WORKSPACE,
                self.stream.0.cast(),
            )
        };
        blas("cublasLtMatmul", multiplied)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // SAFETY: the handle was created with the bench and is not used after it.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
