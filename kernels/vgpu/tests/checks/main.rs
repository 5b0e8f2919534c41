//! Planted mistakes of every kind that the checks look for, each with a correct twin that must stay
//! clean. The kinds are those of compute-sanitizer's memcheck, initcheck, racecheck and synccheck.

mod copies;
mod device_races;
mod limits;
mod schedules;
mod shared_races;
mod support;
mod uninitialised;
