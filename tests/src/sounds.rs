//! Sounds to ask about.

use gamut_engine::AudioInput;

/// A tone at 16 kHz that rises slowly.
pub fn tone(seconds: f64) -> Vec<f32> {
    let time = |i: usize| i as f64 / 16_000.0;
    let phase = |t: f64| std::f64::consts::TAU * (220.0 + 3.0 * t) * t;
    (0..(seconds * 16_000.0) as usize)
        .map(|i| 0.5 * phase(time(i)).sin() as f32)
        .collect()
}

/// A mono 16 kHz wav file of 32-bit floats.
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    let size = data.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0"); // 16 bytes: float, mono
    file.extend(16_000u32.to_le_bytes());
    file.extend(64_000u32.to_le_bytes()); // bytes a second
    file.extend(b"\x04\0\x20\0data"); // bytes a frame, bits a sample
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}

/// One of three songs, of half a second to three.
pub fn song(index: usize) -> AudioInput {
    let samples = [8_000, 33_000, 50_000][index % 3];
    let value = |i: usize| (i as f32 * (0.01 + index as f32 * 0.003)).sin() * 0.3;
    AudioInput::Samples((0..samples).map(value).collect())
}
