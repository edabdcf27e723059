/* For LD_PRELOAD: a program that believes it has flushed, and has not. The control of run.py. */
int fsync(int file) { (void)file; return 0; }
int fdatasync(int file) { (void)file; return 0; }
