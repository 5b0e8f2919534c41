//! Weights of a checkpoint as the operations take them, followed by name like a path.

use crate::error::Error;
use gamut_kernels::ops::{Distribution, LayerNorm, Random, RmsNorm};
use gamut_kernels::{DType, Fp8Blocks, Linear, Weight};
use gamut_loader::{BlockScales, Scope};
use std::cell::RefCell;
use std::fmt::Display;

/// A place in the checkpoint's tree of names.
pub(super) struct Bind<'a> {
    pub(super) scope: Scope<'a>,
    /// The matrices in FP8 that were found so far, anywhere.
    pub(super) fp8: &'a RefCell<Vec<Weight>>,
}

impl<'a> Bind<'a> {
    /// The place below `name`.
    pub(super) fn at(&self, name: impl Display) -> Bind<'a> {
        Bind {
            scope: self.scope.scope(name),
            fp8: self.fp8,
        }
    }

    /// The tensor `name` of `shape`, as a matrix of `shape[0]` rows; a vector is one row.
    pub(super) fn weight(&self, name: &str, shape: &[usize]) -> Result<Weight, Error> {
        let (rows, cols) = match shape {
            [cols] => (1, *cols),
            [rows, inner @ ..] => (*rows, inner.iter().product()),
            [] => (1, 1),
        };
        if let Some(elements) = self.scope.elements(name, shape)? {
            let random = Random {
                state: elements.state,
                offset: elements.offset,
                scale: elements.scale,
                distribution: Distribution::Uniform,
            };
            return Ok(Weight::random(rows, cols, random));
        }
        let tensor = self.scope.tensor(name, shape)?;
        if let Some(BlockScales { block, values }) = tensor.scales {
            let blocks = Fp8Blocks {
                codes: tensor.data,
                scales: values,
                block,
            };
            let weight = Weight::fp8(rows, cols, blocks)?;
            self.fp8.borrow_mut().push(weight.clone());
            return Ok(weight);
        }
        let dtype = match tensor.dtype {
            gamut_loader::DType::F32 => DType::F32,
            gamut_loader::DType::F16 => DType::F16,
            gamut_loader::DType::BF16 => DType::BF16,
            // Never without scales.
            gamut_loader::DType::F8E4M3 => DType::BF16,
        };
        let weight = Weight::new(dtype, rows, cols, tensor.data)?;
        Ok(match tensor.source {
            Some((file, offset)) => weight.in_file(file, offset),
            None => weight,
        })
    }

    /// `weight` `[out, in]` and `bias` `[out]` of this place.
    pub(super) fn linear(&self, outputs: usize, inputs: usize) -> Result<Linear, Error> {
        self.convolution(&[outputs, inputs])
    }

    /// As [`Bind::linear`], for a weight of any shape `[out, ..]`.
    pub(super) fn convolution(&self, shape: &[usize]) -> Result<Linear, Error> {
        let bias = self.weight("bias", &shape[..1])?;
        Ok(Linear::new(self.weight("weight", shape)?, Some(bias))?)
    }

    /// The named linear layers `[out, in]` stacked, each with a bias or without.
    pub(super) fn stack<const N: usize>(
        &self,
        layers: [(&str, usize, bool); N],
        inputs: usize,
    ) -> Result<Linear, Error> {
        let mut parts = Vec::with_capacity(N);
        for (name, outputs, bias) in layers {
            let layer = self.at(name);
            let bias = bias.then(|| layer.weight("bias", &[outputs])).transpose()?;
            parts.push((layer.weight("weight", &[outputs, inputs])?, bias));
        }
        Ok(Linear::stack(parts)?)
    }

    /// A layer normalisation over `d` channels.
    pub(super) fn layer_norm(&self, d: usize, eps: f64) -> Result<LayerNorm, Error> {
        let (weight, bias) = (self.weight("weight", &[d])?, self.weight("bias", &[d])?);
        Ok(LayerNorm {
            weight,
            bias,
            eps: eps as f32,
        })
    }

    /// A root-mean-square normalisation over `d` channels.
    pub(super) fn rms_norm(&self, d: usize, eps: f64) -> Result<RmsNorm, Error> {
        Ok(RmsNorm {
            weight: self.weight("weight", &[d])?,
            eps: eps as f32,
        })
    }
}
