//! Every row of [`rows`], timed, with the peers that run in this process.

use crate::error::Result;
use crate::measure::{Times, with_work};
use crate::options::{Options, gpu, recorded};
use crate::peers::{blas::BlasBench, fft};
use crate::row::{Bench, Peer, Row};
use crate::rows::rows;
use gamut_kernels::{Context, Device, Timer, Work};
use gamut_probe::report::Report;

/// The dry run of a row.
pub(crate) struct Planned {
    pub(crate) row: Row,
    pub(crate) plan: Context,
    pub(crate) work: Work,
}

/// Every row, with its weights and kernels loaded on the device.
pub(crate) fn plan(options: &Options, device: &Device) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for row in rows(&options.config()?, &options.sizes())? {
        let (plan, mut dry) = (Context::plan(device.target()), Dry(Work::default()));
        (row.body)(&plan, &mut dry)?;
        let work = dry.0;
        planned.push(Planned { row, plan, work });
    }
    let plans: Vec<&Context> = planned.iter().map(|planned| &planned.plan).collect();
    device.load(&plans)?;
    Ok(planned)
}

/// Notes the operation's own work among that of a dry run.
struct Dry(Work);

impl Bench for Dry {
    fn run(&mut self, cx: &Context, operation: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let before = cx.work().len();
        operation()?;
        let calls = cx.work().split_off(before);
        self.0 = calls.into_iter().fold(self.0, |sum, (_, work)| sum + work);
        Ok(())
    }
}

/// Times it.
struct Timed<'a> {
    timer: &'a Timer,
    times: Option<Times>,
}

impl Bench for Timed<'_> {
    fn run(&mut self, _: &Context, operation: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.times = Some(Times::measure(self.timer, operation)?);
        Ok(())
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let device = options.open()?;
    let cuda = gpu(&device)?;
    let timer = Timer::new(cuda)?;
    let planned = plan(options, &device)?;
    let blas = match options.is_hardware() {
        true => Some(BlasBench::open(&device, cuda)?),
        false => None,
    };
    for Planned { row, plan, work } in &planned {
        eprintln!("  {}", row.id);
        let time = || -> Result<Times> {
            let cx = Context::new(&device, plan.workspace_peak())?;
            let mut timed = Timed {
                timer: &timer,
                times: None,
            };
            (row.body)(&cx, &mut timed)?;
            Ok(timed.times.unwrap_or(Times::new(Vec::new())))
        };
        let measured = time().map(|times| with_work(&times, *work));
        report.add(&row.id, recorded(measured))?;
        let peer = match (&row.peer, &blas) {
            (Peer::Blas(product), Some(blas)) => Some(("cuBLASLt", blas.measure(&timer, *product))),
            (Peer::Fft(frames, _), Some(_)) => {
                Some(("cuFFT", fft::measure(&device, cuda, &timer, *frames)))
            }
            _ => None,
        };
        if let Some((library, measured)) = peer {
            let measured = measured.map(|times| times.json());
            report.add(&format!("{} | {library}", row.id), recorded(measured))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::BlasPeer;
    use crate::sizes::Sizes;
    use gamut_kernels::{DType, Target};
    use gamut_loader::Config;
    use gamut_loader::synthetic::Shape;
    use std::path::Path;

    /// At GaMMA-8B's size every row is valid, fits a GPU, and products do what their peers do.
    #[test]
    fn a_song_can_be_planned() {
        let shape = Shape::Gamma8b;
        let config = Config::from_json(Path::new(shape.name()), &shape.config()).unwrap();
        for row in rows(&config, &Sizes::SONG).unwrap() {
            let plan = Context::plan(Target::Cuda { dtype: DType::BF16 });
            let mut dry = Dry(Work::default());
            (row.body)(&plan, &mut dry).unwrap();
            let (work, name) = (dry.0, &row.id);
            assert!(work.bytes > 0 && work.launches > 0, "{name}");
            assert!(
                plan.workspace_peak() < 8 << 30,
                "{name}: {}",
                plan.workspace_peak()
            );
            if let Peer::Blas(BlasPeer { m, k, n, .. }) = row.peer {
                assert_eq!(work.operations, 2 * (m * k * n) as u64, "{name}");
            }
        }
    }
}
