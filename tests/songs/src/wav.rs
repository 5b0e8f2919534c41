//! A wav file.

use crate::synth::RATE;

/// A mono file of 16-bit samples at 16 kHz.
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| ((sample * 32_767.0).round() as i16).to_le_bytes())
        .collect();
    let size = data.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0"); // 16 bytes: integers, mono
    file.extend((RATE as u32).to_le_bytes());
    file.extend((2 * RATE as u32).to_le_bytes()); // bytes a second
    file.extend(b"\x02\0\x10\0data"); // bytes a frame, bits a sample
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}
