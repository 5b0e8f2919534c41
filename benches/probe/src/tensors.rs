//! Safetensors files.

use crate::driver::Device;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// Tensors by name, and where they come from.
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl Tensors {
    /// Tensors that this device and driver gave.
    pub(crate) fn of(device: &Device) -> Result<Tensors> {
        let driver = device.driver_version()?.to_string();
        Ok(Tensors {
            tensors: BTreeMap::new(),
            metadata: HashMap::from([
                ("device".to_owned(), device.name()?),
                ("driver".to_owned(), driver),
            ]),
        })
    }

    pub(crate) fn add<T: bytemuck::NoUninit>(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
        values: &[T],
    ) {
        let bytes = bytemuck::cast_slice(values).to_vec();
        self.tensors
            .insert(name.to_owned(), (dtype, shape.to_vec(), bytes));
    }

    /// Adds all tensors of a file, with its metadata.
    pub(crate) fn read(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|source| Error::Tensors {
            path: path.to_owned(),
            source,
        })?;
        let header = SafeTensors::read_metadata(&bytes).map_err(|source| Error::Tensors {
            path: path.to_owned(),
            source,
        })?;
        self.metadata
            .extend(header.1.metadata().clone().unwrap_or_default());
        for (name, view) in file.iter() {
            let entry = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            self.tensors.insert(name.to_owned(), entry);
        }
        Ok(())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let failed = |source| Error::Tensors {
            path: path.to_owned(),
            source,
        };
        let mut views = Vec::new();
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(failed)?;
            views.push((name, view));
        }
        let bytes = safetensors::serialize(views, Some(self.metadata.clone())).map_err(failed)?;
        fs::write(path, bytes).map_err(|e| Error::io(path, e))
    }
}
