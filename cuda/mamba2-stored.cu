// ssd-scan and gated-rms-norm on stored values.
#include "gated-rms-norm.cuh"
#include "ssd-scan.cuh"

namespace quamba {

void ssdScanStored(cudaStream_t stream, const SsdScan<int8_t>& a) { launchSsdScan(stream, a); }

template <class Y>
void gatedNormStored(cudaStream_t stream, const GatedNorm<int8_t, Y>& a) {
  launchGatedNorm(stream, a);
}
template void gatedNormStored(cudaStream_t, const GatedNorm<int8_t, float>&);
template void gatedNormStored(cudaStream_t, const GatedNorm<int8_t, int8_t>&);

}  // namespace quamba
