//! Reports that nobody handles go to standard error.

use super::ErrorReport;

pub(super) fn write(report: &ErrorReport) {
    eprintln!("{report}");
}
