// libcuda, which belongs to the driver: LibTorch asks it for the context before it calls cuBLAS.
extern "C" {

int cuCtxGetCurrent(void** context) {
  static char place[64];
  *context = place;
  return 0;
}
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  if (flags) *flags = 0;
  if (active) *active = 1;
  return 0;
}

}  // extern "C"
