//! From a source to 16 kHz samples: segments are decoded, averaged and resampled in parallel while
//! the next ones are still being read.
//!
//! Each segment's decoder starts a few packets early, so that its output is the serial decode's, bit
//! for bit. That is checked where segments meet; a file that fails the check is decoded serially.

use std::cmp::Ordering;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::decode::{Decoded, Decoders, Summary};
use crate::demux::{Block, Demuxer, Entry, Segment};
use crate::resample::{Chunk, Resampler};
use crate::{Audio, Error, Options, SAMPLE_RATE, Source, SourceInfo, Timing};

/// The latest second that a range may name: 31 years.
const MAX_SECOND: f64 = 1e9;

/// How to share the work. It makes no difference to the samples, which the tests check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Whether one decoder takes all segments in turn, even where each could have its own.
    pub(crate) serial: bool,
    /// Frames that complete a segment.
    pub(crate) segment_frames: u64,
}

impl Default for Plan {
    /// Segments of 6 s at 44.1 kHz: warming up decoders costs about 2 %.
    fn default() -> Self {
        Plan {
            serial: false,
            segment_frames: 1 << 18,
        }
    }
}

pub(crate) fn load(source: &Source, options: &Options, plan: Plan) -> Result<Audio, Error> {
    let start = Instant::now();
    let selection = Selection::new(source, options)?;
    let source = source.reopenable()?;
    let mut parts = catch_panic(&source, || decode(&source, &selection, plan))?;
    if !parts.regular {
        tracing::debug!(
            file = source.name(),
            "irregular stream, decoding it serially"
        );
        let plan = Plan {
            serial: true,
            ..plan
        };
        parts = catch_panic(&source, || decode(&source, &selection, plan))?;
    }
    let mut audio = parts.into_audio(source.name(), &selection)?;
    audio.timing.wall = start.elapsed();
    Ok(audio)
}

/// Turns a panic into an error: symphonia's readers meet some broken headers with an overflow.
fn catch_panic<T>(source: &Source, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let reason = "reading it caused a panic".to_owned();
        Err(Error::Format {
            file: source.name(),
            reason,
        })
    })
}

/// Whether `source` can be decoded in parallel.
#[cfg(test)]
pub(crate) fn is_regular(source: &Source, plan: Plan) -> Result<bool, Error> {
    let selection = Selection::new(source, &Options::default())?;
    decode(source, &selection, plan).map(|parts| parts.regular)
}

/// What to load, in output samples.
struct Selection {
    wanted: Range<u64>,
    /// The end asked for, at or behind the end wanted.
    requested_end: u64,
    options: Options,
}

impl Selection {
    fn new(source: &Source, options: &Options) -> Result<Self, Error> {
        let from = options.from.unwrap_or(0.0);
        let to = options.to.unwrap_or(f64::INFINITY);
        let invalid = |reason| Error::Range {
            file: source.name(),
            from,
            to,
            reason,
        };
        if !(0.0..=MAX_SECOND).contains(&from) {
            return Err(invalid("the start is not a second between 0 and 1e9"));
        }
        // Not a number is not behind the start either.
        if !matches!(to.partial_cmp(&from), Some(Ordering::Greater)) {
            return Err(invalid("the end is not behind the start"));
        }
        if !matches!(
            options.max_seconds.partial_cmp(&0.0),
            Some(Ordering::Greater)
        ) {
            return Err(invalid("max_seconds is not above 0"));
        }
        let sample = |second: f64| (second.min(MAX_SECOND) * f64::from(SAMPLE_RATE)).round() as u64;
        let (start, requested_end) = (sample(from), sample(to));
        if start == requested_end {
            return Err(invalid("it is shorter than a sample at 16 kHz"));
        }
        let cap = sample(options.max_seconds);
        let wanted = start..requested_end.min(start + cap);
        Ok(Selection {
            wanted,
            requested_end,
            options: options.clone(),
        })
    }

    /// Whether it is known without the file where to stop reading.
    fn is_bounded(&self) -> bool {
        self.options.truncate || self.requested_end <= self.wanted.end
    }

    /// Refuses audio of `outputs` samples or more that is longer than the cap.
    fn check_cap(&self, outputs: u64, demuxer: &Demuxer) -> Result<(), Error> {
        if self.is_bounded() || outputs <= self.wanted.end {
            return Ok(());
        }
        // What the container declares may be wrong: good enough to be told, not to be relied on.
        let from = self.wanted.start as f64 / f64::from(SAMPLE_RATE);
        let end = demuxer
            .declared_seconds()
            .max(outputs as f64 / f64::from(SAMPLE_RATE));
        Err(Error::TooLong {
            file: demuxer.file().to_owned(),
            found: end.min(self.options.to.unwrap_or(end)) - from,
            max_seconds: self.options.max_seconds,
        })
    }
}

/// What the threads that decode share.
struct Job {
    decoders: Decoders,
    entry: Entry,
    resampler: Resampler,
    wanted: Range<u64>,
    /// The input frames that the wanted outputs depend on.
    needed: Range<u64>,
    parts: Mutex<Vec<Part>>,
    /// Set when the parts will not be used: after an error, or in an irregular stream.
    abandoned: AtomicBool,
    read_time: Clock,
    decode_time: Clock,
    resample_time: Clock,
}

/// A segment, decoded and resampled.
struct Part {
    index: usize,
    chunk: Chunk,
    summary: Summary,
    /// What this segment's decoder made of the packet before it, if that was decoded.
    lead: Option<Vec<f32>>,
}

/// All parts, in order.
struct Parts {
    parts: Vec<Part>,
    /// Whether the parts are what a serial decode gives.
    regular: bool,
    needed: Range<u64>,
    resampler: Resampler,
    info: SourceInfo,
    timing: Timing,
}

fn decode(source: &Source, selection: &Selection, plan: Plan) -> Result<Parts, Error> {
    let read_time = Clock::default();
    let mut demuxer = read_time.measure(|| Demuxer::open(source, plan.segment_frames))?;
    let resampler = Resampler::new(demuxer.info().sample_rate);
    let job = Job {
        decoders: demuxer.decoders(),
        entry: demuxer.entry(),
        needed: resampler.input_range(&selection.wanted),
        resampler,
        wanted: selection.wanted.clone(),
        parts: Mutex::default(),
        abandoned: AtomicBool::new(false),
        read_time,
        decode_time: Clock::default(),
        resample_time: Clock::default(),
    };
    demuxer.skip_to(job.needed.start)?;
    let serial = plan.serial || job.entry == Entry::Start;
    rayon::scope(|scope| {
        let result = if serial {
            job.read_serially(scope, &mut demuxer, selection)
        } else {
            job.read(scope, &mut demuxer, selection)
        };
        if result.is_err() {
            job.abandon();
        }
        result
    })?;
    let mut parts = job
        .parts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    parts.sort_by_key(|part| part.index);
    Ok(Parts {
        regular: !job.abandoned.into_inner() && seams_match(&parts),
        parts,
        needed: job.needed,
        resampler: job.resampler,
        info: demuxer.info(),
        timing: Timing {
            wall: Duration::ZERO,
            read: job.read_time.total(),
            decode: job.decode_time.total(),
            resample: job.resample_time.total(),
        },
    })
}

/// Whether each segment's decoder had come to the same bits as the one before it.
fn seams_match(parts: &[Part]) -> bool {
    parts.windows(2).all(|pair| match &pair[1].lead {
        Some(lead) if pair[0].index + 1 == pair[1].index => {
            let last = &pair[0].summary.last_block;
            lead.len() == last.len()
                && lead
                    .iter()
                    .zip(last)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
        }
        _ => true,
    })
}

impl Job {
    /// Reads segments and hands each to a thread.
    fn read<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        demuxer: &mut Demuxer,
        selection: &Selection,
    ) -> Result<(), Error> {
        let mut earlier = None;
        for index in 0.. {
            let Some(segment) = self.next_segment(demuxer, selection)? else {
                break;
            };
            if demuxer.is_irregular() {
                self.abandon();
                break;
            }
            let blocks = Arc::clone(&segment.blocks);
            if self.needs(&segment) {
                scope.spawn(move |_| self.decode(index, earlier.as_deref(), &segment));
            }
            earlier = (self.entry != Entry::Anywhere).then_some(blocks);
        }
        Ok(())
    }

    /// Reads and decodes segments, and leaves only resampling to other threads.
    fn read_serially<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        demuxer: &mut Demuxer,
        selection: &Selection,
    ) -> Result<(), Error> {
        let mut decoder = self.decoders.take()?;
        for index in 0.. {
            let Some(segment) = self.next_segment(demuxer, selection)? else {
                break;
            };
            let decoded = self.decode_time.measure(|| decoder.decode(&segment));
            if self.needs(&segment) {
                let start = segment.start;
                scope.spawn(move |_| self.finish(index, start, decoded, None));
            }
        }
        Ok(())
    }

    fn next_segment(
        &self,
        demuxer: &mut Demuxer,
        selection: &Selection,
    ) -> Result<Option<Segment>, Error> {
        if demuxer.info().frames >= self.needed.end && selection.is_bounded() {
            return Ok(None);
        }
        let segment = self.read_time.measure(|| demuxer.next_segment())?;
        if let Some(segment) = &segment {
            selection.check_cap(self.resampler.output_len(segment.end), demuxer)?;
        }
        Ok(segment)
    }

    /// Whether any output depends on `segment`.
    fn needs(&self, segment: &Segment) -> bool {
        segment.start < segment.end
            && segment.start < self.needed.end
            && segment.end > self.needed.start
    }

    /// Decodes and resamples one segment; `earlier` are the blocks before it, if it needs any.
    fn decode(&self, index: usize, earlier: Option<&Vec<Block>>, segment: &Segment) {
        if self.abandoned.load(Relaxed) {
            return;
        }
        let decoded = self.decode_time.measure(|| {
            let mut decoder = self.decoders.take().ok()?;
            let lead = match earlier {
                Some(earlier) => Some(decoder.warm_up(self.entry.warm_up(earlier)?)?),
                None => None,
            };
            let decoded = decoder.decode(segment);
            self.decoders.put(decoder);
            Some((decoded, lead))
        });
        match decoded {
            Some((decoded, lead)) => self.finish(index, segment.start, decoded, lead),
            None => self.abandon(),
        }
    }

    /// Resamples one decoded segment.
    fn finish(&self, index: usize, start: u64, decoded: Decoded, lead: Option<Vec<f32>>) {
        let Decoded { mono, summary } = decoded;
        let chunk = self
            .resample_time
            .measure(|| self.resampler.chunk(start, &mono, &self.wanted));
        lock(&self.parts).push(Part {
            index,
            chunk,
            summary,
            lead,
        });
    }

    fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }
}

impl Parts {
    fn into_audio(self, file: String, selection: &Selection) -> Result<Audio, Error> {
        let Parts {
            parts,
            needed,
            resampler,
            mut info,
            timing,
            ..
        } = self;
        let summaries = || parts.iter().map(|part| &part.summary);
        let bad_sample =
            |summary: &Summary| summary.not_finite.filter(|bad| needed.contains(&bad.0));
        if let Some((frame, value)) = summaries().find_map(bad_sample) {
            return Err(Error::NotFinite { file, frame, value });
        }
        if let Some(reason) = summaries().find_map(|summary| summary.reason.clone()) {
            let packets = summaries().map(|summary| summary.packets).sum();
            let broken = summaries().map(|summary| summary.broken).sum();
            if broken > packets / 2 {
                return Err(Error::Decode {
                    file,
                    broken,
                    packets,
                    reason,
                });
            }
            tracing::warn!(
                file,
                broken,
                packets,
                reason,
                "silence in place of broken packets"
            );
        }
        // A stream that was cut off ends where its last packet could be decoded to.
        if let Some(last) = parts.last().filter(|part| part.summary.is_stream_end) {
            info.frames = last.chunk.end();
        }
        if info.frames == 0 {
            return Err(Error::NoSamples { file });
        }
        let chunks = parts.into_iter().map(|part| part.chunk).collect();
        let samples = resampler.stitch(chunks, &selection.wanted);
        if samples.is_empty() {
            let from = selection.options.from.unwrap_or(0.0);
            let length = info.frames as f64 / f64::from(info.sample_rate);
            return Err(Error::BeyondEnd { file, from, length });
        }
        Ok(Audio {
            samples,
            source: info,
            timing,
        })
    }
}

/// Time spent, added up over threads.
#[derive(Default)]
struct Clock(AtomicU64);

impl Clock {
    fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        result
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

/// Locks `mutex`; what it guards stays usable if a thread panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
