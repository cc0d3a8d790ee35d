// The program of dinoxx_cuda_check: it exists to be linked, so that every symbol the CUDA code uses is known to exist. It is not run.
int main() { return 0; }
