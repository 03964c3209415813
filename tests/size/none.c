/* Calls nothing: for the size of all there is, it is linked without --gc-sections. */
int main(void)
{
    return 0;
}
