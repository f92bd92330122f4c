//! Reports that nobody handles go to `tracing`, as warnings.

use super::ErrorReport;

pub(super) fn write(report: &ErrorReport) {
    tracing::warn!(target: "ringio", kind = ?report.kind, "{report}");
}
