//! Where the music starts and ends in an MP4 file: the edit list, or iTunes' gapless tag.
//!
//! AAC needs a frame of priming before the first sample, and fills up its last frame. Symphonia
//! plays both, so they are found here (ISO 14496-12; `iTunSMPB` as iTunes writes it).

use std::io::{Read, Seek, SeekFrom};

/// The largest movie header read: hours of audio take less than 1 MiB.
const MAX_MOOV_BYTES: u64 = 64 << 20;

/// The part of a track that is meant to be heard, in samples of its sample rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) start: u64,
    /// Absent when only the start is known.
    pub(crate) length: Option<u64>,
}

/// Reads the edit of the track `track_id`, sampled at `rate` Hz. Absent where the file has none, or
/// one that is not a single cut.
pub(crate) fn read_edit(
    file: &mut (impl Read + Seek),
    track_id: u32,
    rate: u32,
) -> std::io::Result<Option<Edit>> {
    let Some(moov) = read_moov(file)? else {
        return Ok(None);
    };
    Ok(track_edit(&moov, track_id, rate).or_else(|| gapless_tag(&moov)))
}

/// Finds the top-level `moov` box and reads its content.
fn read_moov(file: &mut (impl Read + Seek)) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        let mut header = [0; 8];
        if file.read(&mut header[..1])? == 0 {
            return Ok(None);
        }
        file.read_exact(&mut header[1..])?;
        let kind = &header[4..];
        let length = match be32(&header, 0) {
            // To the file's end.
            Some(0) => u64::MAX,
            Some(1) => {
                let mut long = [0; 8];
                file.read_exact(&mut long)?;
                u64::from_be_bytes(long).saturating_sub(16)
            }
            short => u64::from(short.unwrap_or(0)).saturating_sub(8),
        };
        if kind == b"moov" {
            let mut moov = Vec::new();
            file.take(length.min(MAX_MOOV_BYTES))
                .read_to_end(&mut moov)?;
            return Ok(Some(moov));
        }
        match i64::try_from(length) {
            Ok(length) => file.seek(SeekFrom::Current(length))?,
            Err(_) => return Ok(None),
        };
    }
}

fn track_edit(moov: &[u8], track_id: u32, rate: u32) -> Option<Edit> {
    let movie_scale = u64::from(timescale(find(moov, &[b"mvhd"])?)?);
    let track = boxes(moov)
        .filter(|(kind, _)| kind == b"trak")
        .map(|(_, body)| body)
        .find(|track| {
            let id = find(track, &[b"tkhd"])
                .and_then(|tkhd| be32(tkhd, if tkhd.first() == Some(&1) { 20 } else { 12 }));
            id == Some(track_id)
        })?;
    let media_scale = u64::from(timescale(find(track, &[b"mdia", b"mdhd"])?)?);
    let (duration, media_time) = single_edit(find(track, &[b"edts", b"elst"])?)?;
    let samples = |ticks: u64, scale: u64| {
        u64::try_from(u128::from(ticks) * u128::from(rate) / u128::from(scale.max(1))).ok()
    };
    let start = samples(media_time, media_scale)?;
    let length = match duration {
        0 => None,
        ticks => {
            let length = samples(ticks, movie_scale)?;
            // The movie's ticks are often coarser than samples; the packets' durations are not.
            let tick = u64::from(rate) / movie_scale.max(1) + 1;
            let media = find(track, &[b"mdia", b"minf", b"stbl", b"stts"]).and_then(total_time)?;
            let rest = samples(media, media_scale)?.saturating_sub(start);
            Some(if rest.abs_diff(length) <= tick {
                rest
            } else {
                length
            })
        }
    };
    Some(Edit { start, length })
}

/// An edit list's duration in movie ticks and start in media ticks, if it is one cut at normal
/// speed. A leading empty edit, which only delays the track, is skipped.
fn single_edit(elst: &[u8]) -> Option<(u64, u64)> {
    let long = *elst.first()? == 1;
    let entry = if long { 20 } else { 12 };
    let mut edits = elst
        .get(8..)?
        .chunks_exact(entry)
        .take(be32(elst, 4)? as usize)
        .map(|e| {
            if long {
                Some((be64(e, 0)?, be64(e, 8)? as i64))
            } else {
                Some((u64::from(be32(e, 0)?), i64::from(be32(e, 4)? as i32)))
            }
        });
    let mut first = edits.next()??;
    if first.1 == -1 {
        first = edits.next()??;
    }
    if edits.next().is_some() {
        return None;
    }
    Some((first.0, u64::try_from(first.1).ok()?))
}

/// The sum of all packets' durations in media ticks.
fn total_time(stts: &[u8]) -> Option<u64> {
    stts.get(8..)?
        .chunks_exact(8)
        .take(be32(stts, 4)? as usize)
        .try_fold(0u64, |sum, entry| {
            let time = u64::from(be32(entry, 0)?) * u64::from(be32(entry, 4)?);
            sum.checked_add(time)
        })
}

/// iTunes' tag: ` 00000000 DELAY PADDING LENGTH ...`, all hexadecimal, in samples.
fn gapless_tag(moov: &[u8]) -> Option<Edit> {
    let meta = find(moov, &[b"udta", b"meta"])?;
    let list = find(meta.get(4..)?, &[b"ilst"])?;
    let is_gapless =
        |item: &[u8]| find(item, &[b"name"]).and_then(|name| name.get(4..)) == Some(b"iTunSMPB");
    let item = boxes(list)
        .find(|(kind, item)| kind == b"----" && is_gapless(item))?
        .1;
    let text = std::str::from_utf8(find(item, &[b"data"])?.get(8..)?).ok()?;
    let mut fields = text
        .split_ascii_whitespace()
        .map(|hex| u64::from_str_radix(hex, 16).ok());
    let (_, delay, _, length) = (
        fields.next()?,
        fields.next()??,
        fields.next()??,
        fields.next()??,
    );
    Some(Edit {
        start: delay,
        length: (length > 0).then_some(length),
    })
}

/// The timescale of an `mvhd` or `mdhd` box.
fn timescale(header: &[u8]) -> Option<u32> {
    be32(header, if header.first() == Some(&1) { 20 } else { 12 }).filter(|&scale| scale > 0)
}

/// The content of the first box at `path`.
fn find<'a>(body: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(body, |body, kind| {
        boxes(body)
            .find(|(found, _)| found == *kind)
            .map(|(_, content)| content)
    })
}

/// The boxes in `body`: kind and content.
fn boxes(body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let kind = *rest.get(4..)?.first_chunk()?;
        let length = be32(rest, 0)? as usize;
        let end = if length == 0 { rest.len() } else { length };
        let content = rest.get(8..end)?;
        rest = &rest[end..];
        Some((kind, content))
    })
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn atom(kind: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
        let content = content.concat();
        [
            &(content.len() as u32 + 8).to_be_bytes()[..],
            kind,
            &content,
        ]
        .concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A file with one track, number 7, at 44.1 kHz in a movie of milliseconds, whose packets last
    /// 60,000 samples; `edit` goes into the track and `tags` into the movie.
    fn file(edit: &[u8], tags: &[u8]) -> Cursor<Vec<u8>> {
        let header = |kind, scale| atom(kind, &[&words(&[0, 0, 0, scale, 0])]);
        let stts = atom(b"stts", &[&words(&[0, 2, 58, 1024, 1, 608])]);
        let media = atom(b"minf", &[&atom(b"stbl", &[&stts])]);
        let media = atom(b"mdia", &[&header(b"mdhd", 44_100), &media]);
        let track = atom(b"trak", &[&header(b"tkhd", 7), edit, &media]);
        let moov = atom(b"moov", &[&header(b"mvhd", 1000), &track, tags]);
        Cursor::new([atom(b"ftyp", &[b"M4A "]), atom(b"mdat", &[&[0; 99]]), moov].concat())
    }

    fn edit_list(entries: &[u32]) -> Vec<u8> {
        let count = entries.len() as u32 / 3;
        atom(
            b"edts",
            &[&atom(b"elst", &[&words(&[0, count]), &words(entries)])],
        )
    }

    fn edit(file: &mut Cursor<Vec<u8>>) -> Option<Edit> {
        read_edit(file, 7, 44_100).unwrap()
    }

    #[test]
    fn edit_lists() {
        let cut = |start, length| Some(Edit { start, length });
        // 1,337 ms are 58,961 samples: within a tick of the packets' 58,976.
        let mut exact = file(&edit_list(&[1337, 1024, 0x1_0000]), &[]);
        assert_eq!(edit(&mut exact), cut(1024, Some(58_976)));
        let mut shorter = file(&edit_list(&[1000, 1024, 0x1_0000]), &[]);
        assert_eq!(edit(&mut shorter), cut(1024, Some(44_100)));
        let mut delayed = file(
            &edit_list(&[50, u32::MAX, 0x1_0000, 0, 2112, 0x1_0000]),
            &[],
        );
        assert_eq!(edit(&mut delayed), cut(2112, None));
        let mut several = file(&edit_list(&[50, 0, 0x1_0000, 50, 9000, 0x1_0000]), &[]);
        assert_eq!(edit(&mut several), None);
        assert_eq!(edit(&mut file(&[], &[])), None);
        assert_eq!(
            read_edit(&mut file(&edit_list(&[0, 9, 0]), &[]), 8, 44_100).unwrap(),
            None
        );
    }

    #[test]
    fn the_tag_of_itunes() {
        let text = b" 00000000 00000840 000001CA 000000000000E5F6 00000000 00000000";
        let item = atom(
            b"----",
            &[
                &atom(b"mean", &[&words(&[0]), b"com.apple.iTunes"]),
                &atom(b"name", &[&words(&[0]), b"iTunSMPB"]),
                &atom(b"data", &[&words(&[1, 0]), text]),
            ],
        );
        let meta = atom(b"meta", &[&words(&[0]), &atom(b"ilst", &[&item])]);
        let mut file = file(&[], &atom(b"udta", &[&meta]));
        assert_eq!(
            edit(&mut file),
            Some(Edit {
                start: 0x840,
                length: Some(0xe5f6)
            })
        );
    }

    #[test]
    fn cut_files_have_no_edit_and_cause_no_panic() {
        let whole = file(&edit_list(&[1000, 1024, 0x1_0000]), &[]).into_inner();
        for length in 0..whole.len() {
            // Reading fails within a box's header, and finds nothing elsewhere.
            if let Ok(found) = read_edit(&mut Cursor::new(&whole[..length]), 7, 44_100) {
                assert!(
                    found.is_none_or(|edit| edit.start == 1024),
                    "{length}: {found:?}"
                );
            }
        }
    }
}
