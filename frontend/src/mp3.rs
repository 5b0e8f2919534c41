//! What parallel decoding must know of an MPEG layer III frame (ISO 11172-3, 2.4.1 and 2.4.2).

/// Frames that must be complete before one comes out right: the hybrid synthesis overlaps granules
/// and the polyphase filter remembers one, which takes two frames of one granule (MPEG-2), and one
/// more so that the last frame of the warm-up can be checked.
const SETTLE: usize = 3;

/// How a frame uses the bit reservoir.
struct Reservoir {
    /// Bytes of earlier frames where this frame's main data begins.
    begin: usize,
    /// Bytes that this frame adds.
    adds: usize,
}

fn reservoir(frame: &[u8]) -> Option<Reservoir> {
    let header = frame.first_chunk::<4>()?;
    let mpeg1 = header[1] & 0x18 == 0x18;
    let crc = if header[1] & 1 == 0 { 2 } else { 0 };
    let side_info = match (mpeg1, is_mono(header)) {
        (true, true) => 17,
        (true, false) => 32,
        (false, true) => 9,
        (false, false) => 17,
    };
    let body = frame.get(4 + crc..)?;
    let first = usize::from(*body.first()?);
    let begin = if mpeg1 {
        first << 1 | usize::from(*body.get(1)?) >> 7
    } else {
        first
    };
    Some(Reservoir {
        begin,
        adds: body.len().saturating_sub(side_info),
    })
}

fn is_mono(header: &[u8; 4]) -> bool {
    header[3] >> 6 == 3
}

/// Whether two frames agree on version, layer, sample rate and channel count.
pub(crate) fn same_format(a: &[u8], b: &[u8]) -> bool {
    let format = |frame: &[u8]| {
        let header = frame.first_chunk::<4>()?;
        Some((header[1] & 0xfe, header[2] & 0x0c, is_mono(header)))
    };
    format(a).is_some() && format(a) == format(b)
}

/// How many of the frames before a point must be decoded so that what follows comes out as if the
/// whole stream had been decoded. `frame(i)` is the `i`-th frame before that point, from 0.
pub(crate) fn warm_up<'a>(frame: impl Fn(usize) -> Option<&'a [u8]>) -> Option<usize> {
    let mut missing = reservoir(frame(SETTLE - 1)?)?.begin;
    let mut count = SETTLE;
    while missing > 0 {
        missing = missing.saturating_sub(reservoir(frame(count)?)?.adds);
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An MPEG-1 stereo frame of 100 bytes of main data that begins `begin` bytes before it.
    fn frame(begin: usize) -> Vec<u8> {
        let mut frame = vec![0; 4 + 32 + 100];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame[4] = (begin >> 1) as u8;
        frame[5] = (begin << 7) as u8;
        frame
    }

    #[test]
    fn warm_up_reaches_back_to_where_the_main_data_begins() {
        for (begin, expected) in [(0, 3), (1, 4), (100, 4), (101, 5), (511, 9)] {
            let frame = frame(begin);
            assert_eq!(
                warm_up(|_| Some(&frame)),
                Some(expected),
                "main_data_begin {begin}"
            );
        }
        let frame = frame(511);
        assert_eq!(
            warm_up(|i| (i < 4).then_some(&*frame)),
            None,
            "the stream starts too late"
        );
    }

    #[test]
    fn formats_are_told_apart() {
        let stereo = [0xff, 0xfb, 0x90, 0x00];
        assert!(
            same_format(&stereo, &[0xff, 0xfa, 0xe2, 0x44]),
            "CRC, bit rate and padding differ"
        );
        assert!(!same_format(&stereo, &[0xff, 0xfb, 0x90, 0xc0]), "mono");
        assert!(!same_format(&stereo, &[0xff, 0xfb, 0x94, 0x00]), "48 kHz");
        assert!(!same_format(&stereo, &[0xff, 0xf3, 0x90, 0x00]), "MPEG-2");
        assert!(!same_format(&stereo[..3], &stereo[..3]), "cut off");
    }
}
