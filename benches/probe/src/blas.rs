//! cuBLASLt: finding it, and products `y = x w^T` with what it fuses behind them.
//!
//! Addresses are the caller's to see to; as with kernels, a wrong one can only spoil device memory,
//! or fail.
#![allow(unsafe_code)]

use crate::driver::Buffer;
use crate::error::{Error, Result};
use crate::libraries;
use cudarc::cublaslt::result;
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t, cublasLtEpilogue_t, cublasLtMatmulDescAttributes_t, cublasStatus_t,
    cudaDataType,
};
use std::ffi::c_void;
use std::path::PathBuf;
use std::ptr;

const WORKSPACE: usize = 32 << 20;
/// Algorithms that are asked for.
const ALGORITHMS: usize = 8;

/// `y [m, n] = x [m, k] w [n, k]^T` in bf16, contiguous, with sums in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Rows of `x` and `y`.
    pub m: usize,
    /// Columns of `x` and `w`.
    pub k: usize,
    /// Columns of `y`.
    pub n: usize,
    /// What becomes of the products.
    pub epilogue: Epilogue,
}

/// What becomes of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Store,
    /// The same, in f32.
    F32,
    /// A bias `[n]` in bf16 at this address is added.
    Bias(u64),
    /// A bias is added and the sum goes through gelu, by its approximation with a hyperbolic
    /// tangent.
    GeluBias(u64),
    /// They are added to `y`.
    Add,
    /// They and a bias are added to `y`.
    AddBias(u64),
}

impl Epilogue {
    fn bias(self) -> Option<u64> {
        match self {
            Epilogue::Bias(bias) | Epilogue::GeluBias(bias) | Epilogue::AddBias(bias) => Some(bias),
            _ => None,
        }
    }

    fn code(self) -> cublasLtEpilogue_t {
        match self {
            Epilogue::GeluBias(_) => cublasLtEpilogue_t::CUBLASLT_EPILOGUE_GELU_BIAS,
            Epilogue::Bias(_) | Epilogue::AddBias(_) => cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS,
            _ => cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT,
        }
    }

    fn adds(self) -> bool {
        matches!(self, Epilogue::Add | Epilogue::AddBias(_))
    }
}

/// The library, with a workspace on the device whose context is current.
#[derive(Debug)]
pub struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: Buffer,
    path: Option<PathBuf>,
}

/// A product's description, its layouts and the heuristic's choices.
#[derive(Debug)]
pub struct Plan {
    adds: bool,
    product: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    algorithms: Vec<sys::cublasLtMatmulHeuristicResult_t>,
}

impl Plan {
    /// How many algorithms there are to choose from.
    pub fn choices(&self) -> usize {
        self.algorithms.len()
    }
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

impl Blas {
    /// Finds and loads the library.
    ///
    /// # Errors
    /// If it is not on this machine, or there is no memory for its workspace.
    pub fn open() -> Result<Blas> {
        let path = libraries::preload("libcublasLt.so.13")?;
        // SAFETY: it only tries to load the library.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::Text("libcublasLt is not on this machine".into()));
        }
        Ok(Blas {
            handle: blas("cublasLtCreate", result::create_handle())?,
            workspace: Buffer::new(WORKSPACE)?,
            path,
        })
    }

    /// Where the library was found.
    pub fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// The library's version, such as 130100 of 13.1.0.
    pub fn version(&self) -> usize {
        // SAFETY: the library is loaded, and the function has no arguments.
        unsafe { sys::cublasLtGetVersion() }
    }

    /// In cuBLAS's column-major terms the transposed product: y^T = (w^T)^T x^T.
    ///
    /// # Errors
    /// If the library refuses the product.
    pub fn plan(&self, product: Product) -> Result<Plan> {
        let Product { m, k, n, epilogue } = product;
        let layout = |dtype, rows: usize, columns: usize| {
            let made =
                result::create_matrix_layout(dtype, rows as u64, columns as u64, rows as i64);
            blas("cublasLtMatrixLayoutCreate", made)
        };
        let bf16 = cudaDataType::CUDA_R_16BF;
        let out = match epilogue {
            Epilogue::F32 => cudaDataType::CUDA_R_32F,
            _ => bf16,
        };
        let description = result::create_matmul_desc(
            cublasComputeType_t::CUBLAS_COMPUTE_32F,
            cudaDataType::CUDA_R_32F,
        );
        let mut plan = Plan {
            adds: epilogue.adds(),
            product: blas("cublasLtMatmulDescCreate", description)?,
            w: layout(bf16, k, n)?,
            x: layout(bf16, k, m)?,
            y: layout(out, n, m)?,
            algorithms: Vec::new(),
        };
        // A 32-bit cublasOperation_t, of which 1 is the transpose.
        let transposed: i32 = 1;
        plan.set(
            cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
            &transposed,
        )?;
        plan.set(
            cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE,
            &(epilogue.code() as u32),
        )?;
        if let Some(bias) = epilogue.bias() {
            plan.set(
                cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                &bias,
            )?;
        }
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

    /// Queues a planned product with one of its algorithms on a stream, from and to the addresses
    /// of `x`, `w` and `y`.
    ///
    /// # Errors
    /// If there is no such algorithm, or it refuses to run.
    pub fn multiply(
        &self,
        plan: &Plan,
        choice: usize,
        [x, w, y]: [u64; 3],
        stream: *mut c_void,
    ) -> Result<()> {
        let choice = plan.algorithms.get(choice).ok_or_else(|| {
            let known = plan.algorithms.len();
            Error::Text(format!(
                "cuBLASLt has {known} algorithms, not number {choice}"
            ))
        })?;
        let (one, before) = (1f32, if plan.adds { 1f32 } else { 0f32 });
        let pointer = |address: u64| address as *mut c_void;
        // SAFETY: all handles are alive. What the addresses may do is said at the head of this file.
        let multiplied = unsafe {
            result::matmul(
                self.handle,
                plan.product,
                ptr::from_ref(&one).cast(),
                ptr::from_ref(&before).cast(),
                pointer(w),
                plan.w,
                pointer(x),
                plan.x,
                pointer(y),
                plan.y,
                pointer(y),
                plan.y,
                &choice.algo,
                pointer(self.workspace.pointer),
                WORKSPACE,
                stream.cast(),
            )
        };
        blas("cublasLtMatmul", multiplied)
    }
}

impl Plan {
    fn set<T>(&mut self, attribute: cublasLtMatmulDescAttributes_t, value: &T) -> Result<()> {
        // SAFETY: the description is alive, and the attributes that are set here have the sizes of
        // the values that they are given.
        let set = unsafe {
            result::set_matmul_desc_attribute(
                self.product,
                attribute,
                ptr::from_ref(value).cast(),
                size_of::<T>(),
            )
        };
        blas("cublasLtMatmulDescSetAttribute", set)
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle was created with the library and is not used after it.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
